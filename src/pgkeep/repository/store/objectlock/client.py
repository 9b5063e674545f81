"""Requests to S3 that obstore does not know: versions of objects, and their locks.

botocore (an optional part: `pgkeep[objectlock]`) makes and signs them; credentials, patience and
errors are those of the bucket store.
"""

from collections.abc import Callable
from threading import Lock
from typing import Any, Final, TypeVar

from pgkeep import config_file
from pgkeep.repository.store.bucket.credentials import Credentials, find_credentials
from pgkeep.repository.store.bucket.options import BucketOptions
from pgkeep.repository.store.bucket.reading import Answer, translate
from pgkeep.repository.store.bucket.retry import Patience, persist
from pgkeep.repository.store.objectlock.errors import LocksNotInstalled

Result = TypeVar("Result")

WORKERS: Final = 16  # requests under way at once
_GONE: Final = frozenset({"NoSuchKey", "NoSuchVersion"})


class NotThere(Exception):
    """The service answered that there is no such object, or no such version of it."""


class Refused(Exception):
    """The service understood the request and refused it for a reason of its own."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.message)
        self.answer = answer


class S3Client:
    """One bucket, below a prefix. Made when first needed; may be used by several threads."""

    def __init__(
        self,
        options: BucketOptions,
        patience: Patience | None = None,
        asked: Callable[[str], None] | None = None,
    ) -> None:
        self.options = options
        self._patience = patience or Patience(options.retry_for)
        self._asked = asked
        self._lock = Lock()
        self._client: Any = None
        self._credentials = Credentials({})

    @property
    def prefix(self) -> str:
        """What stands before a blob's name in its key."""
        return f"{self.options.prefix}/" if self.options.prefix else ""

    def of(self, name: str) -> dict[str, str]:
        """Return which object is meant."""
        return {"Bucket": self.options.bucket, "Key": self.prefix + name}

    def ask(
        self,
        action: str,
        request: Callable[[Any], Result],
        refusals: frozenset[str] = frozenset(),
    ) -> Result:
        """Return what `request` does with the client, tried patiently.

        Raise NotThere, Refused for a code of `refusals`, or the store's errors.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        if self._asked is not None:
            self._asked(action.partition(" ")[0])

        def attempt(number: int) -> Result:  # noqa: ARG001
            client = self._opened()
            try:
                return request(client)
            except ClientError as error:
                answer = _answer(error.response)
                if answer.code in refusals:
                    raise Refused(answer) from error
                if answer.code in _GONE:
                    raise NotThere from error
                raise translate(answer, action, self.options) from error
            except BotoCoreError as error:
                raise translate(_no_answer(error), action, self.options) from error

        return persist(self._patience, attempt)

    def _opened(self) -> Any:
        with self._lock:
            if self._client is None or self._credentials.outdated():
                self._credentials = find_credentials(self.options)
                self._client = _client(self.options, self._credentials.settings)
            return self._client


def demand_installed(options: BucketOptions, action: str) -> None:
    """Raise LocksNotInstalled."""
    try:
        import botocore  # noqa: F401
    except ImportError:
        raise LocksNotInstalled(options.url, action, "botocore is not installed") from None


def _client(options: BucketOptions, settings: dict[str, str]) -> Any:
    import botocore.session
    from botocore.config import Config

    known = "access_key_id" in settings
    # What names no keys (identities of machines, web tokens) is botocore's own to find.
    session = botocore.session.Session(profile=None if known else options.profile or None)
    if known:
        keys = (settings[name] for name in ("access_key_id", "secret_access_key"))
        session.set_credentials(*keys, settings.get("session_token"))
    return session.create_client(
        "s3",
        region_name=options.region or _default_region(),
        endpoint_url=options.endpoint or None,
        verify=options.ca_file or None,
        config=Config(
            connect_timeout=options.connect_timeout,
            read_timeout=options.timeout,
            max_pool_connections=WORKERS,
            # When to try again is decided in one place, for all requests to buckets: retry.py.
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path" if options.bucket_in_path else "virtual"},
            proxies=dict.fromkeys(("http", "https"), options.proxy) if options.proxy else None,
            user_agent="pgkeep",
        ),
    )


def _default_region() -> str:
    """Return the region that obstore would take: botocore does not know $AWS_REGION."""
    environment = config_file.environment()
    return environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"


def _answer(response: Any) -> Answer:
    told = response.get("Error", {})
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code, message = str(told.get("Code", "")), str(told.get("Message", ""))
    # Where no body tells more, botocore gives the status as code.
    code = "" if code.isdigit() else code
    region = told.get("Region", "")
    text = f"{message} <Region>{region}</Region>" if region else message
    return Answer(status, code, " ".join(message.split())[:300], text)


def _no_answer(error: Exception) -> Answer:
    """Put it into the words that are looked for: which exception it is tells botocore's errors."""
    name = type(error).__name__
    said = {
        "ConnectTimeoutError": "HTTP error: TimedOut",
        "ReadTimeoutError": "HTTP error: TimedOut",
        "NoCredentialsError": "no credential",
        "PartialCredentialsError": "no credential",
        "CredentialRetrievalError": "no credential",
        "SSLError": "HTTP error: invalid peer certificate: Refused",
        "ProxyConnectionError": "HTTP error: proxy",
        "EndpointConnectionError": "HTTP error: ConnectionRefused",
    }.get(name, "HTTP error" if "HTTP" in name or "Connection" in name else str(error))
    return Answer(0, "", "", said)
