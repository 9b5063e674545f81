"""Who may do what: roles, and the role that each act takes. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What a user may do. Each role may do all that those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    RESTORER = "restorer"
    ADMIN = "admin"

    def covers(self, needed: "Role") -> bool:
        """Tell whether this role is `needed` or above it."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


# An act is named as in the audit log. A command's act is in api/asking/commands.py.
NEEDS: Final[Mapping[str, Role]] = {
    # Viewers read.
    "look": Role.VIEWER,
    # Operators run what adds or proves, and deletes nothing.
    "advise": Role.OPERATOR,  # it may measure a server
    "alert-test": Role.OPERATOR,
    "backup": Role.OPERATOR,
    "census": Role.OPERATOR,
    "check": Role.OPERATOR,
    "copy": Role.OPERATOR,
    "drill": Role.OPERATOR,
    "dump": Role.OPERATOR,
    "jobs-cancel": Role.OPERATOR,
    "look-again": Role.OPERATOR,
    "pin": Role.OPERATOR,
    "point": Role.OPERATOR,
    "preview": Role.OPERATOR,  # --dry-run of whatever
    "undo-find": Role.OPERATOR,
    "verify": Role.OPERATOR,
    # Restorers see and write out data itself.
    "dump-restore": Role.RESTORER,
    "restore": Role.RESTORER,
    "sandbox": Role.RESTORER,
    "undo": Role.RESTORER,
    # Admins destroy, and decide who may do what.
    "audit": Role.ADMIN,  # who logged in from where
    "delete": Role.ADMIN,
    "expire": Role.ADMIN,
    "settings": Role.ADMIN,
    "tokens": Role.ADMIN,
    "undo-by-sql": Role.ADMIN,  # its condition runs as a superuser of the restored copy
    "unpin": Role.ADMIN,  # the next expire deletes what it lets go
    "users": Role.ADMIN,
}


def may(role: Role, act: str) -> bool:
    """Tell whether a role covers an act. An act that is not in the table is nobody's."""
    needed = NEEDS.get(act)
    return needed is not None and role.covers(needed)
