"""Who may archive a cluster's WAL: one server at a time. On disk: docs/formats/writers.md.

A copy of production has its system identifier and its archive_command. Nothing in its WAL tells it
from the original until both have written different segments of one name, and whichever comes first
would keep the other out. So the archive belongs to one server, named by host and data directory;
another must take it over, and says so.
"""

import os
from contextlib import suppress

from blake3 import blake3

from pgkeep.errors import PgkeepError
from pgkeep.light_typing import TYPE_CHECKING, Final, NamedTuple
from pgkeep.repository import names
from pgkeep.repository.marker import encode_document, format_moment, read_document
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.base import BlobExists, BlobMissing

if TYPE_CHECKING:
    from pgkeep.repository.repository import ClusterFolder

_ATTEMPTS: Final = 5  # several that take over at once


class Server(NamedTuple):
    """A server as an archive knows it: never its data, which a copy has too."""

    host: str
    directory: str

    @property
    def token(self) -> str:
        """Return what an object's name holds of it: 16 hexadecimal digits."""
        return blake3(f"{self.host}\n{self.directory}".encode(errors="surrogateescape")).hexdigest(
            8
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.directory}"


class Writer(NamedTuple):
    """Who archives, as a listing tells it."""

    number: int  # of the takeover, from 1
    timeline: int  # on which the server was then
    token: str

    @property
    def name(self) -> str:
        return f"{self.number:06d}-{self.timeline:08X}-{self.token}"


class WriterFacts(NamedTuple):
    """Who archives, in full."""

    server: Server
    since: str  # as format_moment() writes it
    user: str
    instead_of: str  # the server before; '' for the first


class NotTheWriter(PgkeepError):
    """Another server archives this cluster's WAL. Nothing was stored."""

    code = "not-the-writer"
    exit_status = 56

    what: str  # 'archive 000000010000000000000007'
    cluster: str
    server: str
    writer: str
    since: str
    repository: str

    def __str__(self) -> str:
        return (
            f"cannot {self.what} from {self.server}: since {self.since} {self.writer} archives "
            f"cluster {self.cluster} in {self.repository}"
        )

    @property
    def hint(self) -> str:
        return (
            "is this a copy? then set archive_mode = off here, or give it a cluster name of its "
            f"own. Has it replaced {self.writer} for good? then run here: pgkeep --cluster "
            f"{self.cluster} wal take-over"
        )


def parse_writer(text: str) -> Writer | None:
    """Read the part of an object's name; None for what is none."""
    number, _, rest = text.partition("-")
    timeline, _, token = rest.partition("-")
    try:
        found = Writer(int(number), int(timeline, 16), token)
    except ValueError:
        return None
    return found if found.name == text and len(token) == 16 else None


def newest(texts: list[str]) -> Writer | None:
    """Return who came last of those in a listing; of two that raced, one, the same for all."""
    found = [writer for text in texts if (writer := parse_writer(text)) is not None]
    return max(found, default=None)


def read_writer(cluster: "ClusterFolder", generation_id: str, writer: Writer) -> WriterFacts:
    """Raise BlobMissing or Damaged."""
    name = names.writer(cluster.name, generation_id, writer.name)
    facts = read_document(cluster.store, name)
    try:
        server = Server(str(facts["host"]), str(facts["directory"]))
        found = WriterFacts(
            server, str(facts["since"]), str(facts["user"]), str(facts["instead_of"])
        )
    except KeyError as error:
        raise Damaged(name, f"a fact is missing ({error})") from error
    if server.token != writer.token:
        raise Damaged(name, f"it holds the facts of {server}")
    return found


def claim(cluster: "ClusterFolder", generation_id: str, server: Server, timeline: int) -> None:
    """Make `server` the one that archives, where there is none yet. Raise NotTheWriter."""
    made = Writer(1, timeline, server.token)
    write_writer(cluster, generation_id, made, WriterFacts(server, _now(), user_here(), ""))
    # Of two that came at once each has its object; the same one is the newest for both.
    found = cluster.archiving().writers.get(generation_id)
    if found is None or found.token != server.token:
        raise refusal(cluster, generation_id, server, "archive WAL")


def take_over(
    cluster: "ClusterFolder",
    generation_id: str,
    server: Server,
    timeline: int,
) -> Writer:
    """Make `server` the one that archives from now on; nothing to do if it is.

    Raise what the store raises.
    """
    for _ in range(_ATTEMPTS):
        before = cluster.archiving().writers.get(generation_id)
        if before is not None and before.token == server.token:
            return before
        made = Writer(1 if before is None else before.number + 1, timeline, server.token)
        instead_of = "" if before is None else str(_server_of(cluster, generation_id, before))
        write_writer(
            cluster, generation_id, made, WriterFacts(server, _now(), user_here(), instead_of)
        )
    raise refusal(cluster, generation_id, server, "take over the archive")


def write_writer(
    cluster: "ClusterFolder", generation_id: str, writer: Writer, facts: WriterFacts
) -> None:
    """Put a takeover on record; nothing to do when it is."""
    server, since, user, instead_of = facts
    document = {**server._asdict(), "since": since, "user": user, "instead_of": instead_of}
    name = names.writer(cluster.name, generation_id, writer.name)
    with suppress(BlobExists):  # ourselves, a moment ago
        cluster.store.create(name, [encode_document(document)])


def refusal(
    cluster: "ClusterFolder", generation_id: str, server: Server, what: str
) -> NotTheWriter:
    """Return the error that names who archives instead of `server`."""
    writer = cluster.archiving().writers.get(generation_id)
    facts = _facts_of(cluster, generation_id, writer) if writer else None
    return NotTheWriter(
        what=what,
        cluster=cluster.name,
        server=str(server),
        writer=str(facts.server) if facts else "another server",
        since=facts.since[:19].replace("T", " ") if facts else "an unknown time",
        repository=cluster.store.url,
    )


def _server_of(cluster: "ClusterFolder", generation_id: str, writer: Writer) -> Server | str:
    facts = _facts_of(cluster, generation_id, writer)
    return facts.server if facts else "an unknown server"


def _facts_of(cluster: "ClusterFolder", generation_id: str, writer: Writer) -> WriterFacts | None:
    try:
        return read_writer(cluster, generation_id, writer)
    except (BlobMissing, Damaged):
        return None


def this_server(directory: str, name: str = "") -> Server:
    """Describe the server whose data directory this is; `name` instead of the host's, if given."""
    return Server(name or os.uname().nodename, os.path.realpath(directory))


def _now() -> str:
    from datetime import UTC, datetime

    return format_moment(datetime.now(UTC))


def user_here() -> str:
    """Return who runs this process, as locks and takeovers have it on record."""
    import pwd

    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
