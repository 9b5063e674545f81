"""From what obstore says about a request that failed to an error of ours. Pure.

object_store (the Rust library below obstore) puts the status, the service's XML and the causes that
the operating system gave into one text: client/retry.rs (RequestError) has the wordings.
"""

import re
from typing import Final, NamedTuple

from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.bucket.errors import (
    BucketMissing,
    ClockSkewed,
    CredentialsExpired,
    CredentialsRefused,
    IdentityUnavailable,
    StoreDenied,
    StoreLacks,
    StoreThrottled,
    StoreTimedOut,
    StoreUnreachable,
    StoreUntrusted,
    WrongRegion,
)
from pgkeep.repository.store.bucket.options import SERVICES, BucketOptions

_STATUS: Final = re.compile(r"status(?: code)?:? (\d{3})|\(code: (\d{3})\)")
_CODE: Final = re.compile(r"<Code>\s*([A-Za-z0-9.]+)\s*</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<]{0,300})")
_REGION: Final = re.compile(r"<Region>([a-z0-9-]{2,30})</Region>|expecting '([a-z0-9-]{2,30})'")
# Who is asked for a machine's credentials: AWS's and everybody's metadata, token services.
_IDENTITY: Final = re.compile(r"performing token request|http://169\.254\.|https://sts[.a-z0-9-]*/")
_CERTIFICATE: Final = re.compile(r"InvalidCertificate\(\s*([A-Za-z]+)")
# Codes of S3 and its clones, of Google's XML API and of Azure; no two mean different things.
_NO_BUCKET: Final = frozenset({"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"})
_NO_KEY: Final = frozenset({"NoSuchKey", "BlobNotFound"})
_REGIONS: Final = frozenset(
    {"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect",
     "IllegalLocationConstraintException", "IncorrectEndpoint"}
)  # fmt: skip
_KEY: Final = frozenset({"InvalidAccessKeyId", "InvalidAuthenticationInfo", "NoAuthenticationInfo"})
_SECRET: Final = frozenset({"SignatureDoesNotMatch", "AuthenticationFailed", "InvalidSecurity"})
_EXPIRED: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"}
)
_DENIED: Final = frozenset(
    {"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden",
     "AuthorizationPermissionMismatch", "AuthorizationFailure", "InsufficientAccountPermissions"}
)  # fmt: skip
_SKEWED: Final = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
# Azure has one code for all that is wrong with a signature, and the reason in a sentence.
_SKEWED_WORDS: Final = ("too skewed", "Request date header too old")
_SIGNATURE_ENDED: Final = "Signature not valid in the specified time frame"
_SLOW: Final = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests",
     "ServerBusy", "BandwidthLimitExceeded", "EgressIsOverAccountLimit"}
)  # fmt: skip
_LACKS: Final = frozenset({"NotImplemented", "UnsupportedHeader", "MethodNotAllowed"})


class Answer(NamedTuple):
    """What the service or the network said, as far as the text tells."""

    status: int  # of HTTP; 0 when there was no answer
    code: str  # the service's own word, like NoSuchBucket
    message: str  # the service's own sentence
    text: str  # all of it

    @property
    def key_missing(self) -> bool:
        """Whether the service itself says that this object, and only it, is not there."""
        return self.code in _NO_KEY

    @property
    def beyond_end(self) -> bool:
        """Whether a range begins where an object has ended already.

        Azurite says 206, and ranges that object_store can't read ("bytes 0--1/0") or refuses.
        """
        marks = ("value for CONTENT_RANGE header", "StartTooLarge")
        return self.status == 416 or any(mark in self.text for mark in marks)

    @property
    def unexplained(self) -> bool:
        """Whether the service refused without a word of why. That something is missing says it."""
        redirected = "redirect without LOCATION" in self.text
        return not self.code and (redirected or (400 <= self.status < 500 and self.status != 404))

    @property
    def explains(self) -> bool:
        """Whether it says why a request was refused, and not just something about the object."""
        return bool(self.code) and not self.key_missing and not self.beyond_end

    @property
    def ambiguous(self) -> bool:
        """Whether the request may have been carried out although it failed."""
        # object_store aborts an upload whose completion got no answer, and tells only of that.
        aborted = self.code == "NoSuchUpload"
        return self.status in (0, 408) or self.status >= 500 or aborted


def read_answer(error: BaseException) -> Answer:
    """Take apart what an error of obstore says."""
    text = str(error)
    status, code, message = (find.search(text) for find in (_STATUS, _CODE, _MESSAGE))
    return Answer(
        int(status[1] or status[2]) if status else 0,
        code[1] if code else "",
        " ".join(message[1].split()) if message else "",
        text,
    )


def translate(answer: Answer, action: str, options: BucketOptions) -> StoreFailed:
    """Return the error for a request that failed: which kind it is, and what to do."""
    store = options.url
    if _IDENTITY.search(answer.text):
        why = "no credentials are named, and this machine gives none by an identity of its own"
        return IdentityUnavailable(store, action, why, _which_key(options))
    if answer.status == 0:
        return _without_answer(answer, action, options)
    said = f"{SERVICES[options.scheme]} answered {answer.status} {answer.code}".rstrip()
    kind, why, advice = _kind(answer, action, options)
    return kind(store, action, f"{why} ({said})" if why else _in_its_words(said, answer), advice)


def _kind(
    answer: Answer, action: str, options: BucketOptions
) -> tuple[type[StoreFailed], str, str]:
    code = answer.code
    if code in _NO_BUCKET or "specified container does not exist" in answer.text:
        return BucketMissing, *_no_bucket(options)
    if code in _REGIONS or answer.status in (301, 307):
        return WrongRegion, *_region(answer, options)
    if code in _SKEWED or any(words in answer.text for words in _SKEWED_WORDS):
        return ClockSkewed, "this host's clock is wrong", "set it: timedatectl, chronyc tracking"
    if code in _EXPIRED or _SIGNATURE_ENDED in answer.text:
        advice = "renew them where they come from; pgkeep reads them anew by itself"
        return CredentialsExpired, "the credentials have expired", advice
    if code in _KEY:
        return CredentialsRefused, "the access key is not known there", _which_key(options)
    if code in _SECRET or "failed to authenticate" in answer.message:
        azure = f"the key or signature is not that of account {options.account}"
        why = azure if options.scheme == "az" else "the secret is not the access key's"
        return CredentialsRefused, why, _which_key(options)
    if code in _SLOW or answer.status == 429:
        return StoreThrottled, "it asks for fewer requests", "run it again later, with fewer jobs"
    if code in _LACKS or answer.status == 501:
        what = "it cannot do that"
        if action.startswith("create "):
            what = "it cannot store an object only if its name is free, which pgkeep relies on"
        return StoreLacks, what, "see what it lacks: pgkeep check; other stores can"
    if code in _DENIED or answer.status in (401, 403):
        return StoreDenied, *_denied(action, options)
    return StoreFailed, "", ""


def _in_its_words(said: str, answer: Answer) -> str:
    return f"{said}: {answer.message}" if answer.message else said


def _without_answer(answer: Answer, action: str, options: BucketOptions) -> StoreFailed:
    text, store = answer.text, options.url
    where = options.endpoint or f"{SERVICES[options.scheme]}'s own endpoint"
    if "redirect without LOCATION" in text:
        return WrongRegion(store, action, *_region(answer, options))
    if found := _CERTIFICATE.search(text):
        why = f"the certificate of {where} is not trusted ({found[1]})"
        return StoreUntrusted(store, action, why, "name the CA that signed it: ca_file")
    if "dns error" in text:
        why = f"the name of {where} leads to no address (DNS)"
        return StoreUnreachable(store, action, why, f"check endpoint and {_where_from(options)}")
    if "ConnectionRefused" in text:
        why = f"nobody listens at {where}"
        return StoreUnreachable(store, action, why, "check endpoint and its port: is it running?")
    if "TimedOut" in text or "kind: Timeout" in text or "timed out" in text:
        why = f"{where} gave no answer in time"
        advice = f"raise timeout (now {options.timeout}s) if the line is slow"
        return StoreTimedOut(store, action, why, advice)
    if "InvalidMessage" in text or "CorruptMessage" in text:
        why = f"{where} does not speak TLS"
        return StoreUntrusted(store, action, why, "write endpoint with http:// or another port")
    if "HTTP error" not in text:
        words = " ".join(text.partition("\n")[0].split())[:200]
        return StoreFailed(store, action, f"its answer makes no sense: {words}")
    why = f"the connection to {where} broke"
    return StoreUnreachable(store, action, why, f"check endpoint and {_where_from(options)}")


def _where_from(options: BucketOptions) -> str:
    return f"the proxy {options.proxy}" if options.proxy else "the network"


def _no_bucket(options: BucketOptions) -> tuple[str, str]:
    what = f"{'container' if options.scheme == 'az' else 'bucket'} {options.bucket}"
    return f"there is no {what}", f"make the {what} first, or correct the url; pgkeep makes none"


def _region(answer: Answer, options: BucketOptions) -> tuple[str, str]:
    found = _REGION.search(answer.text)
    asked = options.region or "the default region"
    right = next(filter(None, found.groups()), "") if found else ""
    if right:
        return f"the bucket is in {right}, not in {asked}", f'set region = "{right}"'
    return f"the bucket is not in {asked}", "set region to where the bucket was made"


def _which_key(options: BucketOptions) -> str:
    if options.credentials_file:
        return f"check {options.credentials_file}"
    if options.profile:
        return f"check the profile {options.profile} in ~/.aws"
    return "name a credentials_file that the server's user can read, see docs/object-stores.md"


_PERMISSIONS: Final = {
    # the first word of an action: what S3, Google and Azure call the permission for it
    "read": {"s3": "s3:GetObject", "gs": "storage.objects.get", "az": "read"},
    "write": {"s3": "s3:PutObject", "gs": "storage.objects.create and delete", "az": "write"},
    "create": {"s3": "s3:PutObject", "gs": "storage.objects.create", "az": "create"},
    "list": {"s3": "s3:ListBucket", "gs": "storage.objects.list", "az": "list"},
    "look": {"s3": "s3:GetObjectRetention"},
    "lock": {"s3": "s3:PutObjectRetention"},
    "see": {"s3": "s3:ListBucketVersions"},
    "recall": {"s3": "s3:GetObjectVersion"},
    "delete": {"s3": "s3:DeleteObject", "gs": "storage.objects.delete", "az": "delete"},
}


def _denied(action: str, options: BucketOptions) -> tuple[str, str]:
    verb = action.partition(" ")[0]
    needed = _PERMISSIONS.get(verb, {}).get(options.scheme, "")
    why = f"the credentials do not allow it: {needed} is needed" if needed else "it is not allowed"
    if verb == "read" and options.scheme == "s3":
        # Without s3:ListBucket S3 says 403 of objects that don't exist, too.
        return why, "allow it, and s3:ListBucket: without it nobody can tell missing from denied"
    return why, f"allow {needed or 'it'} on {options.url}, see docs/object-stores.md"
