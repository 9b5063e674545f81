"""What the operating system's errors mean for a repository, and what to do about each."""

import errno
import os
import stat

from pgkeep.light_typing import Final
from pgkeep.repository.store.base import StoreFailed, StoreFull

_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_ADVICE: Final = {
    errno.EROFS: "the file system is read-only: find out why (dmesg), then mount it read-write",
    errno.EIO: "the disk or the network behind it fails: look at dmesg, and copy what is readable",
    errno.ESTALE: "the network file system lost its server: mount it again",
    errno.EXDEV: "a repository must be on one file system: nothing else may be mounted inside it",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this host (sysctl fs.file-max)",
    errno.ELOOP: "there is a symbolic link where pgkeep keeps a plain file: remove it",
    errno.ENOTDIR: "there is a file where pgkeep keeps a directory: move it away",
    errno.EISDIR: "there is a directory where pgkeep keeps a file: move it away",
    errno.ENAMETOOLONG: "put the repository where its path is shorter",
    errno.EFBIG: "the file system or a limit (ulimit -f) does not allow files of this size",
}


def translate(error: OSError, root: str, action: str) -> StoreFailed:
    """Return the store's own error for what the system refused."""
    code = errno.errorcode.get(error.errno or 0, str(error.errno))
    why = f"{(error.strerror or str(error)).lower()} ({code})"
    if error.errno in _FULL:
        return StoreFull(root, action, why)
    path = error.filename if isinstance(error.filename, str) else root
    if error.errno in _NO_LINKS and error.filename2 is not None:
        advice = "the file system has no hard links, which pgkeep needs to never replace a file"
        return StoreFailed(root, action, why, f"{advice}: put the repository on another one")
    if error.errno in (errno.EACCES, errno.EPERM):
        return StoreFailed(root, action, why, _who_may(path, root))
    return StoreFailed(root, action, why, _ADVICE.get(error.errno or 0, ""))


def root_missing(root: str, action: str) -> StoreFailed:
    why = "the repository's directory is not there"
    return StoreFailed(root, action, why, f"is {root} mounted? a new one is made by: pgkeep init")


def _who_may(path: str, root: str) -> str:
    """Say who we are and whose the first thing on the way is that we cannot use."""
    obstacle, path = root, os.path.normpath(path)
    while path != root and path.startswith(root):
        if os.path.lexists(path):
            obstacle = path
            break
        path = os.path.dirname(path)
    try:
        found = os.lstat(obstacle)
    except OSError:
        return f"you are {_user(os.geteuid())}: check who may enter the directories above {root}"
    owner, mode = _user(found.st_uid), stat.S_IMODE(found.st_mode)
    return (
        f"you are {_user(os.geteuid())}, and {obstacle} belongs to {owner} with mode {mode:04o}: "
        f"run pgkeep as {owner}, or give it to the user who runs pgkeep"
    )


def _user(uid: int) -> str:
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
