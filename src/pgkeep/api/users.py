"""Who may log in: users and tokens, in one file of the service's state directory.

The file is written whole under a lock and put in place at once; a running service sees changes
that `pgkeep user` makes with the next request. Without the file there are no users; a file that
cannot be read lets nobody in.
"""

import fcntl
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from pgkeep.api.errors import BadUser, LastAdmin, NoSuchUser, UserExists, UsersUnreadable
from pgkeep.api.passwords import hash_password, is_password, is_token, new_token, token_id
from pgkeep.api.rights import Role, may
from pgkeep.repository.store.durable import replace_file

_VERSION: Final = 1
_LIMIT: Final = 16 << 20  # bytes of the file: 50,000 users
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")


def now_utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who asks, and may do what the role covers."""

    name: str
    role: Role
    token: str = ""  # the token's name, where no person asks
    anonymous: bool = False  # there are no users yet: whoever is on this host may look

    def may(self, act: str) -> bool:
        """Tell whether this user may do an act of rights.NEEDS."""
        return may(self.role, act)


@dataclass(frozen=True, slots=True)
class StoredUser:
    """A user on record."""

    name: str
    role: Role
    password_hash: str = field(repr=False)
    stamp: str  # new with each password and role: a session that has another one is over
    made_at: datetime


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token on record: a program's way in."""

    id: str
    name: str
    role: Role
    hash: str = field(repr=False)
    made_at: datetime
    expires_at: datetime | None

    def is_over(self, now: datetime) -> bool:
        return self.expires_at is not None and now >= self.expires_at


@dataclass(frozen=True, slots=True)
class _File:
    users: tuple[StoredUser, ...] = ()
    tokens: tuple[StoredToken, ...] = ()


class Users:
    """The users and tokens of one state directory. Safe to use from several threads."""

    def __init__(self, directory: str, clock: Callable[[], datetime] = now_utc) -> None:
        self.path = os.path.join(directory, "users.json")
        self._clock = clock
        self._seen: tuple[tuple[int, ...], _File] | None = None

    def users(self) -> tuple[StoredUser, ...]:
        """Return all users by name. Raise UsersUnreadable."""
        return self._read().users

    def tokens(self) -> tuple[StoredToken, ...]:
        """Return all tokens by name, those that expired too. Raise UsersUnreadable."""
        return self._read().tokens

    def find(self, name: str) -> StoredUser | None:
        """Return a user on record, or None. Raise UsersUnreadable."""
        return next((user for user in self.users() if user.name == name), None)

    def check_password(self, name: str, password: str) -> StoredUser | None:
        """Return the user whose password this is, or None; both take the same time."""
        user = self.find(name)
        right = is_password(user.password_hash if user else None, password)
        return user if right else None

    def of_token(self, token: str) -> User | None:
        """Return who a token stands for, or None where it is wrong or expired."""
        id = token_id(token)
        found = next((one for one in self.tokens() if one.id == id), None)
        if found is None or not is_token(found.hash, token) or found.is_over(self._clock()):
            return None
        return User(f"token:{found.name}", found.role, token=found.name)

    def add(self, name: str, role: Role, password: str) -> StoredUser:
        """Make a user. Raise UserExists, BadUser or UsersUnreadable."""
        made = StoredUser(_checked(name), role, hash_password(password), _stamp(), self._clock())

        def change(old: _File) -> _File:
            if any(user.name == name for user in old.users):
                advice = f"another password: pgkeep user password {name}"
                raise UserExists(f"add user {name}", "there is one of that name", advice)
            return replace(old, users=(*old.users, made))

        self._change(change)
        return made

    def remove(self, name: str, *, last_admin_too: bool = False) -> None:
        """Remove a user; whoever is logged in as that user is out. Raise NoSuchUser, LastAdmin."""

        def change(old: _File) -> _File:
            left = tuple(user for user in old.users if user.name != name)
            if len(left) == len(old.users):
                raise _no_user(f"remove user {name}")
            if not last_admin_too:
                _refuse_without_admin(f"remove user {name}", old.users, left)
            return replace(old, users=left)

        self._change(change)

    def set_password(self, name: str, password: str) -> None:
        """Change a password; all sessions of the user end. Raise NoSuchUser, BadUser."""
        hashed = hash_password(password)
        self._replace(name, lambda old: replace(old, password_hash=hashed, stamp=_stamp()))

    def set_role(self, name: str, role: Role) -> None:
        """Change a role; all sessions of the user end. Raise NoSuchUser, LastAdmin."""
        self._replace(name, lambda old: replace(old, role=role, stamp=_stamp()))

    def add_token(
        self, name: str, role: Role, expires_at: datetime | None
    ) -> tuple[StoredToken, str]:
        """Make a token and return it: what is stored does not tell it. Raise UserExists."""
        id, token, hashed = new_token()
        made = StoredToken(id, _checked(name), role, hashed, self._clock(), expires_at)

        def change(old: _File) -> _File:
            if any(one.name == name for one in old.tokens):
                advice = f"remove it first: pgkeep token remove {name}"
                raise UserExists(f"add token {name}", "there is one of that name", advice)
            return replace(old, tokens=(*old.tokens, made))

        self._change(change)
        return made, token

    def remove_token(self, name: str) -> None:
        """Remove a token: it opens nothing any more. Raise NoSuchUser."""

        def change(old: _File) -> _File:
            left = tuple(one for one in old.tokens if one.name != name)
            if len(left) == len(old.tokens):
                advice = "pgkeep token list shows all"
                raise NoSuchUser(f"remove token {name}", "there is none of that name", advice)
            return replace(old, tokens=left)

        self._change(change)

    def _replace(self, name: str, change: Callable[[StoredUser], StoredUser]) -> None:
        def changed(old: _File) -> _File:
            if all(user.name != name for user in old.users):
                raise _no_user(f"change user {name}")
            users = tuple(change(user) if user.name == name else user for user in old.users)
            _refuse_without_admin(f"change user {name}", old.users, users)
            return replace(old, users=users)

        self._change(changed)

    def _change(self, change: Callable[[_File], _File]) -> None:
        """Read, change and write under a lock that the system gives back if we die."""
        try:
            folder = os.path.dirname(self.path)
            os.makedirs(folder, mode=0o700, exist_ok=True)
            with _locked(folder):
                changed = change(self._read())
                replace_file(str(self.path), [_encode(changed)])
        except OSError as error:
            raise self._unreadable("write", error) from error

    def _read(self) -> _File:
        try:
            with open(self.path, "rb") as file:
                found = os.fstat(file.fileno())
                mark = (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
                seen = self._seen
                if seen is not None and seen[0] == mark:
                    return seen[1]
                if found.st_mode & 0o077:
                    advice = f"look who changed it, then: chmod 600 {self.path}"
                    why = "others may read or write it"
                    raise UsersUnreadable(f"use {self.path}", why, advice)
                decoded = _decode(file.read(_LIMIT))
        except FileNotFoundError:
            return _File()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._unreadable("read", error) from error
        self._seen = (mark, decoded)
        return decoded

    def _unreadable(self, act: str, error: Exception) -> UsersUnreadable:
        why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        advice = "put it back from a copy; or move it away and make users anew: pgkeep user add"
        return UsersUnreadable(f"{act} {self.path}", why.lower().rstrip("."), advice)


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    # The folder itself: a file for it could belong to root, and shut the service out.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        why = "names have 1 to 63 letters, digits, '.', '_', '@' and '-', the first no sign"
        raise BadUser(f"use the name {name!r}", why)
    return name


def _stamp() -> str:
    return secrets.token_hex(8)


def _no_user(what: str) -> NoSuchUser:
    return NoSuchUser(what, "there is none of that name", "pgkeep user list shows all")


def _refuse_without_admin(
    what: str, before: tuple[StoredUser, ...], after: tuple[StoredUser, ...]
) -> None:
    def admins(users: tuple[StoredUser, ...]) -> bool:
        return any(user.role is Role.ADMIN for user in users)

    if admins(before) and not admins(after):
        why = "it is the last admin, and nobody could add users any more"
        raise LastAdmin(what, why, "make another one first: pgkeep user add NAME --role admin")


def _encode(file: _File) -> bytes:
    facts = {"version": _VERSION, **asdict(file)}
    return json.dumps(facts, indent=1, default=datetime.isoformat).encode() + b"\n"


def _decode(content: bytes) -> _File:
    facts = json.loads(content)
    if facts["version"] != _VERSION:
        raise ValueError(f"it is of version {facts['version']}, and this pgkeep reads {_VERSION}")
    return _File(
        tuple(StoredUser(**_typed(one)) for one in facts["users"]),
        tuple(StoredToken(**_typed(one)) for one in facts["tokens"]),
    )


def _typed(facts: dict[str, Any]) -> dict[str, Any]:
    times: dict[str, Any] = {
        name: None if facts[name] is None else datetime.fromisoformat(facts[name])
        for name in ("made_at", "expires_at")
        if name in facts
    }
    return {**facts, **times, "role": Role(facts["role"])}
