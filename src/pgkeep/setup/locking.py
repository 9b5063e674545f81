"""What `check` thinks of a bucket's protection where pgkeep is to lock objects. Pure."""

from pgkeep.repository.store.objectlock.protection import Protection
from pgkeep.setup.verdicts import Verdict, failed, not_checked, note, ok

_GUIDE = "docs/immutable.md has the bucket's settings and the policies"


def judge_locks(found: Protection) -> list[Verdict]:
    """Return the verdict on locks, and one on each gap in what the bucket does by itself."""
    if found.locks is None:
        return [not_checked("locks", "these credentials may not ask for the bucket's settings")]
    if not found.locks:
        fix = "turn Object Lock on in the bucket's settings, or take lock = ... out of the config"
        return [failed("locks", "lock is set, and the bucket locks no objects", fix)]
    verdicts = []
    if found.default_days:
        verdicts.append(ok("locks", found.words))
    else:
        says = "the bucket locks no new object by itself: WAL is safe only after pgkeep lock"
        verdicts.append(note("locks", says, f"give it a default retention: {_GUIDE}"))
    if found.destroys:
        says = "these credentials may delete versions for good, as soon as no lock holds them"
        verdicts.append(note("credentials", says, f"take s3:DeleteObjectVersion away: {_GUIDE}"))
    if found.noncurrent_days == 0:
        says = "nothing removes what was deleted: the bucket grows without end"
        verdicts.append(note("lifecycle", says, f"add a rule for noncurrent versions: {_GUIDE}"))
    return verdicts
