"""What went wrong with a bucket, and what to do about each.

obstore's errors carry the answer of the service as text; reading.py makes facts of it, this module
errors of ours. All are StoreFailed: they share its exit status.
"""

from pgkeep.repository.store.base import StoreFailed


class StoreUnreachable(StoreFailed):
    """Nobody answers where the store should be."""

    code = "store-unreachable"


class StoreTimedOut(StoreFailed):
    """The store took a request and gave no answer in time."""

    code = "store-timed-out"


class StoreThrottled(StoreFailed):
    """The store asks for fewer requests, and went on asking."""

    code = "store-throttled"


class StoreUntrusted(StoreFailed):
    """The store's certificate is not one that this host trusts."""

    code = "store-untrusted"
    retryable = False


class BucketMissing(StoreFailed):
    """There is no such bucket: that says nothing of the objects in it."""

    code = "bucket-missing"
    retryable = False


class WrongRegion(StoreFailed):
    """The bucket lives in another region than the one that was asked."""

    code = "wrong-region"
    retryable = False


class CredentialsMissing(StoreFailed):
    """No credentials were found, or not where they should be."""

    code = "credentials-missing"
    retryable = False


class IdentityUnavailable(StoreFailed):
    """No credentials are named, and the machine's own identity could not be asked for."""

    code = "identity-unavailable"


class CredentialsRefused(StoreFailed):
    """The store does not know the key, or the secret is not the key's."""

    code = "credentials-refused"
    retryable = False


class CredentialsExpired(StoreFailed):
    """The credentials were good until their time ran out; newer ones were not found."""

    code = "credentials-expired"


class StoreDenied(StoreFailed):
    """The credentials are good, but do not allow this."""

    code = "store-denied"
    retryable = False


class ClockSkewed(StoreFailed):
    """This host's clock and the store's differ by more than signatures allow."""

    code = "clock-skewed"
    retryable = False


class StoreLacks(StoreFailed):
    """The store does not do something that pgkeep cannot do without."""

    code = "store-lacks"
    retryable = False


class NotConfirmed(StoreFailed):
    """The store answered that it stored something else than what was sent."""

    code = "not-confirmed"


class BrokenTransfer(StoreFailed):
    """An object arrived cut off, though the store has all of it."""

    code = "broken-transfer"


class StoreForked(StoreFailed):
    """A process tried to go on with a bucket that its parent had opened."""

    code = "store-forked"
    retryable = False


class ForeignObject(StoreFailed):
    """An object that pgkeep did not store makes the store's listing unreadable."""

    code = "foreign-object"
    retryable = False
