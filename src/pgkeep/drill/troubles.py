"""What an error says of a backup: that it cannot be restored, or only that nobody could try. Pure.

Errors that are about the question are neither: they end the command as they end a restore.
"""

from typing import Final

from pgkeep.drill.finding import Finding, failed, untested
from pgkeep.errors import PgkeepError
from pgkeep.logical.restoring.compare import RestoreDiffers
from pgkeep.model.target import BadTarget
from pgkeep.repository.catalog import UnknownBackup
from pgkeep.repository.drills.report import CheckKind
from pgkeep.repository.dumps import UnknownDump
from pgkeep.repository.manifest.checks import BadManifest, UnsafePath
from pgkeep.repository.packs.chunks import PackMissing
from pgkeep.repository.seal import Damaged
from pgkeep.repository.store.base import BlobMissing, ShortRead
from pgkeep.restore.start import RecoveryFailed
from pgkeep.restore.target.unreachable import (
    BackupCannotReach,
    NothingToRestore,
    TargetBehindDamage,
    TargetInHole,
    TargetNotFound,
    TargetTooEarly,
    TargetTooLate,
    WrongTimeline,
)
from pgkeep.sandbox.request import (
    SandboxFailed,
    SandboxMisplaced,
    SandboxServerFailed,
    SandboxTooSmall,
)
from pgkeep.server.client_programs import ProgramFailed
from pgkeep.server.instance import ServerWontStart

# Asked for what is not there: nothing of the backup is proven or disproven by it.
ASKED_WRONG: Final = (
    BadTarget,
    TargetNotFound,
    TargetTooEarly,
    TargetTooLate,
    UnknownBackup,
    UnknownDump,
    WrongTimeline,
)
# What was stored is not what comes back.
_LOST: Final = (BadManifest, BlobMissing, Damaged, PackMissing, ShortRead, UnsafePath)
_UNREACHABLE: Final = (BackupCannotReach, NothingToRestore, TargetBehindDamage, TargetInHole)
_NO_PLACE: Final = (SandboxMisplaced, SandboxTooSmall)
_NO_SERVER: Final = (RecoveryFailed, SandboxServerFailed, ServerWontStart)
# strerror's words in what a server says: this machine is too small, whatever the backup is.
_MACHINE: Final = ("No space left on device", "Disk quota exceeded", "Cannot allocate memory")
_OTHERWISE: Final = (RestoreDiffers, ProgramFailed)


def judged(error: PgkeepError) -> tuple[CheckKind, Finding]:
    """Return which check an error decides, and how. Raise it again if it is about the question."""
    if isinstance(error, ASKED_WRONG):
        raise error
    evidence = [line for line in error.hint.splitlines() if line]
    if isinstance(error, _LOST):
        return CheckKind.RESTORE, failed(str(error))
    if isinstance(error, _UNREACHABLE):
        return CheckKind.RECOVERY, failed(str(error))
    if isinstance(error, _OTHERWISE):
        return CheckKind.RESTORE, failed(str(error))
    if isinstance(error, _NO_SERVER):
        if any(words in line for line in (str(error), *evidence) for words in _MACHINE):
            return CheckKind.RECOVERY, untested(str(error), evidence)
        return CheckKind.RECOVERY, failed(str(error), evidence)
    if isinstance(error, SandboxFailed) and not isinstance(error, _NO_PLACE):
        return CheckKind.CONNECT, failed(str(error))  # it recovered, and lets no superuser in
    return CheckKind.RESTORE, untested(str(error), evidence)
