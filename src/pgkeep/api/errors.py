"""What the API refuses, and to whom it says no."""

from pgkeep.service.errors import ServiceFailed


class NotLoggedIn(ServiceFailed):
    """Somebody asks for what only a user may see, and is none."""

    code = "not-logged-in"


class WrongLogIn(ServiceFailed):
    """A user name and password that do not belong together, or a user there is not."""

    code = "wrong-log-in"


class TooManyLogIns(ServiceFailed):
    """Wrong passwords came too often: the next one has to wait."""

    code = "too-many-log-ins"

    after_s: int = 0


class NotAllowed(ServiceFailed):
    """The user's role does not cover what was asked."""

    code = "not-allowed"


class CrossSite(ServiceFailed):
    """A request that another web site may have made in the user's name."""

    code = "cross-site-request"


class WrongHost(ServiceFailed):
    """A request for a host name that is none of ours: a page elsewhere may have led it here."""

    code = "wrong-host"


class NotConfirmed(ServiceFailed):
    """Something that destroys was asked for without the cluster's name typed."""

    code = "name-not-typed"


class BadRequest(ServiceFailed):
    """A request that asks for what cannot be meant."""

    code = "bad-request"


class TooLarge(ServiceFailed):
    """A request with more in it than any of ours has."""

    code = "request-too-large"


class TooBusy(ServiceFailed):
    """So many requests wait for the repositories that one more must not."""

    code = "too-busy"


class NoSuchUser(ServiceFailed):
    """A user or token that is not there."""

    code = "no-such-user"


class UserExists(ServiceFailed):
    """A user or token of that name is there already."""

    code = "user-exists"


class BadUser(ServiceFailed):
    """A name or password that no user can have."""

    code = "bad-user"


class LastAdmin(ServiceFailed):
    """Without this user nobody could make users any more, except on this host."""

    code = "last-admin"


class UsersUnreadable(ServiceFailed):
    """The file of users is there and cannot be read or written: nobody is let in."""

    code = "users-unreadable"


class ActNotRecorded(ServiceFailed):
    """What was asked cannot be written to the audit log, so it is not done."""

    code = "act-not-recorded"


class ListeningRefused(ServiceFailed):
    """An address to listen on that would show the page to whom it must not."""

    code = "listening-refused"
