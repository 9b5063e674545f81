"""The base of every error that pgkeep raises on purpose.

Each error lives beside the code that raises it: its annotated fields are the facts, its `__str__`
the sentence. Codes and exit statuses are promises: docs/errors.md lists them all.

    class WalGap(PgkeepError):
        '''A restore target cannot be reached: archived WAL is missing.'''

        code = "wal-gap"
        exit_status = 80

        target: str
        missing: str

        def __str__(self) -> str:
            return f"cannot reach {self.target}: WAL segment {self.missing} is not archived"
"""

from pgkeep.light_typing import Any, ClassVar, dataclass_transform


@dataclass_transform(eq_default=False)
class PgkeepError(Exception):
    """Something pgkeep could not do, with what to type next.

    A subclass's annotated fields become its constructor's parameters, as in a dataclass (which
    is not used because importing it costs the WAL commands a tenth of their time).
    `code` is stable and unique. `exit_status` is the process's exit status: 9 to 124, which
    PostgreSQL reads as "retry" after an archive_command, or 201 to 254 for errors that no WAL
    command meets; a subclass without one of its own shares its family's. Only stores read
    `retryable`.
    """

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, *values: Any, **named: Any) -> None:
        names = self._fields()
        facts = {**dict(zip(names, values, strict=False)), **named}
        missing = [n for n in names if n not in facts and not hasattr(type(self), n)]
        if len(values) > len(names) or missing or facts.keys() - names:
            raise TypeError(f"{type(self).__name__} takes {', '.join(names)}; got {facts}")
        super().__init__(*values)
        self.__dict__.update(facts)

    @classmethod
    def _fields(cls) -> dict[str, None]:
        owners = [kind for kind in reversed(cls.__mro__) if issubclass(kind, PgkeepError)]
        return {name: None for kind in owners[1:] for name in kind.__annotations__}

    @property
    def hint(self) -> str:
        """What to type or check next; empty when there is nothing useful to say."""
        return ""

    def facts(self) -> dict[str, Any]:
        """Return the fields, for --json and logs. They never hold a secret."""
        return {name: getattr(self, name) for name in self._fields()}

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is rebuilt from positional arguments only; workers send errors home pickled.
        return _rebuild, (type(self), self.facts())


def _rebuild(kind: type[PgkeepError], facts: dict[str, Any]) -> PgkeepError:
    return kind(**facts)
