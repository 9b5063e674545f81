"""Whether a place in an SQL script is within a quoted text or a comment. Pure.

Follows psql's own scanner (psqlscan.l) as far as pg_dump's output needs it: texts, names in quotes,
dollar quotes, comments.
"""

import re
from typing import Final

_PLAIN: Final = b""
_TEXT: Final = b"'"
_ESCAPED: Final = b"e'"  # a text in which a backslash takes the next character along
_NAME: Final = b'"'
_COMMENT: Final = b"/*"
_DOLLAR: Final = rb"\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$"
# What matters within each; within dollar quotes it is the same quote again.
_TOKENS: Final = {
    _PLAIN: re.compile(rb"""'|"|--|/\*|""" + _DOLLAR),
    _TEXT: re.compile(rb"'"),
    _ESCAPED: re.compile(rb"\\.|''|'", re.DOTALL),
    _NAME: re.compile(rb'"'),
    _COMMENT: re.compile(rb"/\*|\*/"),
}
_ANY: Final = re.compile(rb"""["$\\]|--|/\*""")  # what counting apostrophes does not see
_NAME_ENDS: Final = re.compile(rb"[A-Za-z0-9_$\x80-\xff]\Z")
_ESCAPES: Final = re.compile(rb"(?:\A|[^A-Za-z0-9_$\x80-\xff])[eE]\Z")


class Quoting:
    """What was begun in the lines so far and is not ended."""

    def __init__(self) -> None:
        self._state = _PLAIN
        self._depth = 0  # of comments in comments

    @property
    def inside(self) -> bool:
        return self._state != _PLAIN

    @property
    def words(self) -> str:
        """Say what is not ended, for people."""
        if self._state == _COMMENT:
            return "a comment"
        return "a quoted name" if self._state == _NAME else "a quoted text"

    def line(self, line: bytes) -> None:
        """Go over one line, or a part of one that ends behind a blank."""
        if self._state == _PLAIN and not line.count(b"'") % 2 and not _ANY.search(line):
            return  # nearly all lines: texts that begin on them end on them
        position = 0
        while (match := self._next(line, position)) is not None:
            position = match.end()
            if self._state == _PLAIN and match[0] == b"--":
                return
            self._see(match[0], line[max(0, match.start() - 2) : match.start()])

    def _next(self, line: bytes, position: int) -> re.Match[bytes] | None:
        tokens = _TOKENS.get(self._state)
        if tokens is None:
            tokens = re.compile(re.escape(self._state))
        return tokens.search(line, position)

    def _see(self, token: bytes, before: bytes) -> None:
        if self._state == _COMMENT:
            self._depth += 1 if token == _COMMENT else -1
            self._state = _COMMENT if self._depth else _PLAIN
        elif self._state != _PLAIN:
            # Elsewhere a doubled quote ends a text and begins the next: it comes to the same.
            self._state = self._state if token == b"''" or token[:1] == b"\\" else _PLAIN
        elif token == _TEXT:
            self._state = _ESCAPED if _ESCAPES.search(before) else _TEXT
        elif token == _COMMENT:
            self._state, self._depth = token, 1
        elif token == _NAME or not _NAME_ENDS.search(before):
            self._state = token
