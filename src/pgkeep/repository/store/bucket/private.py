"""Files with secrets: read whole, and only if they are not everybody's."""

import os
import stat
from typing import Final

_LIMIT: Final = 1 << 20  # bytes


class BadCredentials(Exception):
    """Credentials that cannot be used. Says why without a word of what they are."""

    def __init__(self, why: str, advice: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.advice = advice


def read_private(file: str, *, own: bool = True) -> str:
    """Return a file's text. Raise BadCredentials; FileNotFoundError too unless it is `own`.

    One of pgkeep's own must be there, and others must not be able to read it. Members of its group
    may: backups and the server often run as two users.
    """
    try:
        with open(file, encoding="utf-8") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            text = opened.read(_LIMIT)
    except OSError as error:
        if not own and isinstance(error, FileNotFoundError | NotADirectoryError):
            raise FileNotFoundError(file) from error
        advice = "WAL is archived by the server's user: let it read this file (chgrp, chmod 640)"
        if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
            advice = "make it, or correct credentials_file, see docs/object-stores.md"
        raise BadCredentials(f"{file} cannot be read: {error.strerror}", advice) from error
    except UnicodeDecodeError:
        raise BadCredentials(f"{file} is not UTF-8 text") from None
    if own and mode & 0o007:
        why = f"everybody on this host can use {file} (mode {mode:04o})"
        raise BadCredentials(why, f"chmod o-rwx {file}")
    return text
