"""Users and tokens as text."""

from collections.abc import Sequence
from datetime import datetime

from pgkeep.api.rights import Role
from pgkeep.api.users import StoredToken, StoredUser
from pgkeep.cli.text import Look, safe, table

NOBODY = "there are no users: on this host everybody may look, and nobody may do anything"


def added(name: str, role: Role, look: Look, *, first: bool) -> str:
    lines = [look.good(f"user {safe(name)} may log in, as {role}")]
    if first:
        lines.append("from now on everybody has to log in")
    if first and role is not Role.ADMIN:
        lines.append("nobody is admin yet: pgkeep user add NAME --role admin")
    return "\n".join(lines)


def users(found: Sequence[StoredUser], look: Look) -> str:
    if not found:
        return f"{NOBODY}\nmake one: pgkeep user add NAME --role admin"
    rows = [[user.name, user.role.value, look.at(user.made_at)] for user in found]
    return table(["USER", "ROLE", "SINCE"], rows, look)


def removed(name: str, left: Sequence[StoredUser]) -> str:
    lines = [f"user {safe(name)} is removed and logged out"]
    if not left:
        lines.append(NOBODY)
    elif all(user.role is not Role.ADMIN for user in left):
        lines.append("nobody is admin any more: pgkeep user add NAME --role admin")
    return "\n".join(lines)


def token(made: StoredToken, secret: str, look: Look) -> str:
    ends = look.when(made.expires_at) if made.expires_at else "never"
    return "\n".join(
        [
            f"token {safe(made.name)}, {made.role}; it ends: {ends}",
            f"  {look.bold(secret)}",
            "it is shown this once. Programs send it: Authorization: Bearer TOKEN",
        ]
    )


def tokens(found: Sequence[StoredToken], now: datetime, look: Look) -> str:
    if not found:
        return "there are no tokens: pgkeep token add NAME --role viewer"
    rows = [[one.name, one.role.value, look.at(one.made_at), _end(one, now, look)] for one in found]
    return table(["TOKEN", "ROLE", "SINCE", "ENDS"], rows, look)


def _end(one: StoredToken, now: datetime, look: Look) -> str:
    if one.expires_at is None:
        return "never"
    return "is over" if one.is_over(now) else look.at(one.expires_at)
