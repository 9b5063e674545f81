"""What the WAL commands' modules need of typing, without typing.

PostgreSQL starts a process for every WAL segment, and typing, with re and contextlib behind it,
takes 5 ms of that process's 40. A type checker sees the real names. At run time most of them say
nothing; only NamedTuple does something, and does it like the original.
"""

import sys
from collections import namedtuple

TYPE_CHECKING = False  # type checkers take it for True, wherever it is defined

# From 3.14 on class bodies don't hold their annotations any more, and typing itself is light.
if TYPE_CHECKING or sys.version_info >= (3, 14):
    from typing import (
        Any,
        BinaryIO,
        ClassVar,
        Final,
        NamedTuple,
        Protocol,
        Self,
        TypeVar,
        dataclass_transform,
        overload,
    )

    __all__ = [
        "Any",
        "BinaryIO",
        "ClassVar",
        "Final",
        "NamedTuple",
        "Protocol",
        "Self",
        "TypeVar",
        "dataclass_transform",
        "overload",
    ]
else:

    class _Silent:
        """Stands in annotations."""

        def __getitem__(self, _):
            return self

        __or__ = __ror__ = __getitem__

    Any = BinaryIO = ClassVar = Final = Self = _Silent()
    Protocol = object

    def TypeVar(_name):  # noqa: N802 - as typing spells it
        return Any

    def overload(function):
        return function

    def dataclass_transform(**_):
        return overload

    class _MakesTuples(type):
        """Makes a tuple with names of a class's annotated fields; its base is not kept."""

        def __new__(cls, name, bases, body):
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = body.get("__annotations__", {})
            defaults = [body.pop(field) for field in fields if field in body]
            module = body["__module__"]
            base = namedtuple(name, fields, defaults=defaults, module=module)
            return type(name, (base,), {"__slots__": (), **body})

    class NamedTuple(metaclass=_MakesTuples):
        """Like typing.NamedTuple."""
