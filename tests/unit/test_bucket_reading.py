"""What obstore says, in texts that it really said, and which error it is."""

import pytest

from pgkeep.repository.store.base import StoreFailed
from pgkeep.repository.store.bucket import errors
from pgkeep.repository.store.bucket.options import BucketOptions
from pgkeep.repository.store.bucket.reading import read_answer, translate

AZURE = BucketOptions("az", "box", "", account="me")
S3 = BucketOptions("s3", "box", "", region="eu-central-1", proxy="http://proxy:3128")
GOOGLE = BucketOptions("gs", "box", "", credentials_file="/etc/key.json")


def said(status: str, body: str = "") -> str:
    return (
        "Generic S3 error: Error performing GET http://127.0.0.1:1/box/x in 4.603919ms - "
        f"Server returned non-2xx status code: {status}: {body}\n\nDebug source:\nGeneric {{}}"
    )


def code(word: str, message: str = "") -> str:
    return f'<?xml version="1.0"?>\n<Error><Code>{word}</Code><Message>{message}</Message></Error>'


@pytest.mark.parametrize(
    ("options", "text", "kind", "words"),
    [
        pytest.param(
            AZURE,
            said("403 Forbidden", code("AuthorizationFailure", "Server failed to authenticate")),
            errors.CredentialsRefused,
            "the key or signature is not that of account me (Azure Blob Storage answered 403 ",
            id="azurite's wrong key",
        ),
        pytest.param(
            AZURE,
            said("403 Forbidden", code("AuthenticationFailed", "Server failed to authenticate"))
            + "<AuthenticationErrorDetail>Request date header too old: 'Fri, 04 Oct 2019 18:02:12'",
            errors.ClockSkewed,
            "this host's clock is wrong (Azure Blob Storage answered 403 AuthenticationFailed)",
            id="azure's clock",
        ),
        pytest.param(
            AZURE,
            said("403 Forbidden", code("AuthenticationFailed", "Server failed to authenticate"))
            + "<AuthenticationErrorDetail>Signature not valid in the specified time frame: Start",
            errors.CredentialsExpired,
            "the credentials have expired",
            id="azure's signature that ended",
        ),
        pytest.param(
            AZURE,
            "Bulk delete request failed for key x: The specified container does not exist. "
            "(code: 404)",
            errors.BucketMissing,
            "there is no container box",
            id="container, of a batch",
        ),
        pytest.param(
            AZURE,
            said("403 Forbidden", code("AuthorizationPermissionMismatch")),
            errors.StoreDenied,
            "read is needed",
            id="azure's denial",
        ),
        pytest.param(
            GOOGLE,
            said("429 Too Many Requests"),
            errors.StoreThrottled,
            "it asks for fewer requests (Google Cloud Storage answered 429)",
            id="no code at all",
        ),
        pytest.param(
            S3,
            "Error performing GET http://x - HTTP error: error sending request\n\nDebug source:\n"
            'ConnectError("dns error", Custom {',
            errors.StoreUnreachable,
            "the name of S3's own endpoint leads to no address (DNS)",
            id="dns",
        ),
        pytest.param(
            S3,
            "HTTP error: error sending request\n kind: Timeout",
            errors.StoreTimedOut,
            "gave no answer in time",
            id="timeout",
        ),
        pytest.param(
            S3,
            "Error performing PUT http://169.254.169.254/latest/api/token in 2 ms - "
            "Server returned non-2xx status code: 403 Forbidden: denied",
            errors.IdentityUnavailable,
            "no credentials are named, and this machine gives none by an identity of its own",
            id="not on an instance",
        ),
        pytest.param(
            S3,
            "Error decoding response: missing field `Contents`\nmore",
            StoreFailed,
            "its answer makes no sense: Error decoding response: missing field `Contents`",
            id="nonsense",
        ),
        pytest.param(
            S3,
            said("500 Internal Server Error", code("InternalError", "We\n  are sorry")),
            StoreFailed,
            "S3 answered 500 InternalError: We are sorry",
            id="theirs",
        ),
    ],
)
def test_which_error_it_is(
    options: BucketOptions, text: str, kind: type[StoreFailed], words: str
) -> None:
    error = translate(read_answer(Exception(text)), "read x", options)
    assert type(error) is kind
    assert words in str(error)
    assert str(error).startswith(f"cannot read x in {options.url}: ")
    assert "\n" not in f"{error}{error.hint}"


@pytest.mark.parametrize(
    ("text", "missing", "ambiguous"),
    [
        (said("404 Not Found", code("NoSuchKey")), True, False),
        (said("404 Not Found", code("BlobNotFound")), True, False),
        (said("404 Not Found", code("NoSuchBucket")), False, False),
        (said("404 Not Found"), False, False),
        (said("404 Not Found", code("NoSuchUpload")), False, True),
        (said("500 Internal Server Error"), False, True),
        (said("403 Forbidden", code("NoSuchKe")), False, False),
        ("HTTP error: error sending request", False, True),
    ],
)
def test_what_an_answer_settles(text: str, missing: bool, ambiguous: bool) -> None:
    answer = read_answer(Exception(text))
    assert (answer.key_missing, answer.ambiguous) == (missing, ambiguous)


@pytest.mark.parametrize(
    "text",
    [
        "Error performing token request: Error performing GET http://169.254.169.254/x - HTTP",
        "Error performing PUT http://169.254.169.254/latest/api/token - HTTP error TimedOut",
    ],
)
def test_a_machine_without_an_identity_is_no_outage_of_the_store(text: str) -> None:
    error = translate(read_answer(Exception(text)), "list everything", S3)
    assert type(error) is errors.IdentityUnavailable
    assert error.hint.startswith("name a credentials_file that the server's user can read")
