"""Buckets that fail, lie, dawdle or refuse: no success that is none, no wrong "missing"."""

import hashlib
import http.client
import os
import pickle
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pgkeep.repository.store.base import (
    BlobExists,
    BlobMissing,
    ShortRead,
    StoreFailed,
)
from pgkeep.repository.store.bucket import errors
from pgkeep.repository.store.bucket.store import BucketStore
from pgkeep.repository.store.open import make_store, open_store
from support.fault_proxy import (
    Fault,
    FaultProxy,
    Pass,
    Reply,
    Request,
    cut,
    delay,
    flip,
    flip_sent,
    lose_answer,
    refuse,
    reset,
    slow_down,
    stale,
    stall,
    unconditional,
)
from support.object_servers import KEY, REGION, SECRET, ObjectServer, s3_client

MIB = 1 << 20


class Place(NamedTuple):
    """A bucket behind a proxy, and how to look at it from outside."""

    server: ObjectServer
    proxy: FaultProxy
    bucket: str
    credentials: Path

    def store(self, **options: str) -> BucketStore:
        given = {"credentials_file": str(self.credentials), "part_size": "5MiB", **options}
        endpoint = given.pop("endpoint", self.proxy.endpoint)
        return BucketStore(self.server.address(self.bucket, "pre", endpoint, **given))

    def put_foreign(self, key: str, content: bytes = b"x") -> None:
        self.put_many([key], content)

    def put_many(self, keys: Iterable[str], content: bytes = b"") -> None:
        """Put objects from outside, quickly: moto believes every signature."""
        headers = {
            "Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/{REGION}/s3/aws4_request"
            ", SignedHeaders=host, Signature=0",
            "Content-Length": str(len(content)),
        }
        connection = http.client.HTTPConnection(urlsplit(self.server.endpoint).netloc)
        for key in keys:
            connection.request("PUT", f"/{self.bucket}/{quote(key)}", content or None, headers)
            assert connection.getresponse().read() == b""
        connection.close()

    def uploads(self) -> list[str]:
        """Return the uploads in parts that were neither completed nor aborted."""
        found = s3_client(self.server.endpoint).list_multipart_uploads(Bucket=self.bucket)
        return [upload["Key"] for upload in found.get("Uploads", ())]


@pytest.fixture
def place(s3_server: ObjectServer, s3_proxy: FaultProxy, tmp_path: Path) -> Place:
    bucket = f"faults-{os.urandom(6).hex()}"
    s3_server.make_bucket(bucket)
    return Place(s3_server, s3_proxy, bucket, s3_server.credentials(tmp_path / "keys"))


@pytest.fixture
def store(place: Place) -> BucketStore:
    return place.store(timeout="2s", retry_for="1s")


def large(seed: int, mib: int = 22) -> list[bytes]:
    """Content of several parts, in pieces that fit none of them."""
    return [hashlib.shake_128(b"%d %d" % (seed, n)).digest(700_001) for n in range(mib * 3 // 2)]


# Passing faults: tried again, and right in the end.

PASSING = [
    pytest.param(reset, id="reset"),
    pytest.param(lose_answer, id="done, but the answer is lost"),
    pytest.param(slow_down, id="slow down"),
    pytest.param(lambda: refuse(500, "InternalError"), id="500"),
    pytest.param(lambda: refuse(500, "InternalError", done=True), id="500, and yet done"),
    pytest.param(lambda: refuse(503, "ServiceUnavailable"), id="503"),
    pytest.param(lambda: refuse(409, "ConditionalRequestConflict"), id="another at the same time"),
]


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_not_seen(
    place: Place, store: BucketStore, fault: Callable[[], Fault]
) -> None:
    place.proxy.when(fault(), times=1)
    store.create("a/x", [b"content"])
    assert place.proxy.count("PUT") == 2
    calls: Sequence[Callable[[], bool]] = (
        lambda: store.get("a/x") == b"content",
        lambda: store.stat("a/x").size == 7,
        lambda: [blob.name for blob in store.list("a/")] == ["a/x"],
    )
    for call in calls:
        place.proxy.when(fault(), times=1)
        assert call()
    place.proxy.when(fault(), times=1)
    store.put("a/x", [b"other"])
    assert store.get("a/x") == b"other"
    place.proxy.when(fault(), times=1)
    store.delete("a/x")
    assert list(store.list()) == []


def test_what_another_created_meanwhile_is_not_taken_for_ours(
    place: Place, store: BucketStore
) -> None:
    place.proxy.when(reset(), method="PUT", times=1)
    place.put_foreign("pre/x", b"theirs!")
    with pytest.raises(BlobExists):
        store.create("x", [b"content"])
    assert store.get("x") == b"theirs!"


def test_a_request_that_hangs_is_given_up_and_made_again(place: Place, store: BucketStore) -> None:
    store.create("x", [b"content"])
    place.proxy.when(stall(place.proxy), method="GET", times=1)
    assert store.get("x") == b"content"


def test_a_slow_store_is_waited_for(place: Place, store: BucketStore) -> None:
    place.proxy.when(delay(0.3))
    store.create("x", [b"content"])
    assert store.get("x") == b"content"
    assert place.proxy.count() == 2


# Bodies that are not what they should be.


@pytest.mark.parametrize("lying", [False, True])
def test_scenario_99_a_body_cut_in_flight_comes_again(
    place: Place, store: BucketStore, lying: bool
) -> None:
    store.create("x", [b"content"])
    for range in ((0, None), (2, None), (1, 4)):
        place.proxy.when(cut(1, lying=lying), method="GET", times=1)
        assert store.get("x", *range) == b"content"[range[0] :][: range[1]]


@pytest.mark.parametrize("lying", [False, True])
def test_scenario_99_a_body_that_never_comes_whole_is_a_failure_and_no_short_blob(
    place: Place, store: BucketStore, lying: bool
) -> None:
    store.create("x", [b"content"])
    place.proxy.when(cut(3, lying=lying), method="GET")
    with pytest.raises(StoreFailed, match=r"^cannot read x in s3://.*/pre: "):
        store.get("x")
    with pytest.raises(StoreFailed):
        store.get("x", 1, 5)


def test_a_blob_that_is_short_in_the_store_is_another_thing(store: BucketStore) -> None:
    store.create("x", [b"content"])
    with pytest.raises(ShortRead) as caught:
        store.get("x", 3, 9)
    assert (caught.value.wanted, caught.value.size) == (12, 7)


def test_what_arrives_changed_is_stored_anew(place: Place, store: BucketStore) -> None:
    for name, call in (("x", store.create), ("y", store.put)):
        place.proxy.when(flip_sent(2), method="PUT", times=1)
        call(name, [b"content"])
        assert store.get(name) == b"content"


def test_what_arrives_changed_every_time_is_not_stored(place: Place, store: BucketStore) -> None:
    place.proxy.when(flip_sent(2), method="PUT")
    with pytest.raises(errors.NotConfirmed, match="what it stored is not what was sent"):
        store.create("x", [b"content"])
    place.proxy.heal()
    assert list(store.list()) == []


def test_parts_that_arrive_changed_are_found(place: Place, store: BucketStore) -> None:
    content = large(1)
    place.proxy.when(flip_sent(99), method="PUT", query="partNumber=2*", times=1)
    store.create("large", content)
    assert store.get("large") == b"".join(content)


def test_a_store_whose_tags_say_nothing_is_read_back(place: Place, store: BucketStore) -> None:
    """As with encryption by KMS, or on Azure: then only reading tells what it has."""
    place.proxy.when(_tagged('"5d41402abc4b2a76b9719d911017c592"'), method="PUT|HEAD")
    store.create("x", [b"content"])
    assert place.proxy.count("GET") == 1
    place.proxy.when(flip(), method="GET")
    with pytest.raises(errors.NotConfirmed):
        store.create("y", [b"content"])


@pytest.mark.parametrize("fault", [reset, lambda: refuse(503, "ServiceUnavailable")])
def test_a_blob_whose_reading_back_fails_once_is_ours(
    place: Place, store: BucketStore, fault: Callable[[], Fault]
) -> None:
    place.proxy.when(_tagged('"5d41402abc4b2a76b9719d911017c592"'), method="PUT|HEAD")
    place.proxy.when(fault(), method="GET", times=1)
    store.create("x", [b"content"])
    assert store.get("x") == b"content"


def _tagged(tag: str) -> Fault:
    def fault(request: Request, passing: Pass) -> Reply | None:
        reply = passing()
        reply.headers = [(n, v) for n, v in reply.headers if n.lower() != "etag"]
        reply.headers.append(("ETag", tag))
        return reply

    return fault


# Large objects.


def test_large_objects_are_created_once_and_leave_nothing(place: Place, store: BucketStore) -> None:
    first, second = large(1), large(2)
    store.create("large", first)
    assert place.proxy.count("PUT", query="partNumber=*") >= 5
    with pytest.raises(BlobExists):
        store.create("large", second)
    assert store.get("large") == b"".join(first)
    store.put("large", second)
    assert store.get("large", 5 * MIB - 3, 7) == b"".join(second)[5 * MIB - 3 : 5 * MIB + 4]
    assert [blob.name for blob in store.list()] == ["large"]
    assert store.sweep_temp(0, 1e12) == []
    assert place.uploads() == []


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("POST", "uploads=*"),
        ("PUT", "partNumber=3*"),
        ("POST", "uploadId=*"),
        ("HEAD", ""),
        ("DELETE", ""),
    ],
)
@pytest.mark.parametrize("fault", [reset, lose_answer])
def test_large_objects_survive_a_fault_anywhere(
    place: Place, store: BucketStore, method: str, query: str, fault: Callable[[], Fault]
) -> None:
    content = large(3)
    place.proxy.when(fault(), method=method, query=query, times=1)
    store.create("large", content)
    assert store.get("large") == b"".join(content)
    assert [blob.name for blob in store.list()] == ["large"]


def test_an_upload_that_fails_is_aborted_and_replaces_nothing(
    place: Place, store: BucketStore
) -> None:
    class Ending(list[bytes]):
        def __iter__(self) -> Iterator[bytes]:
            yield from large(4)
            raise RuntimeError("the source is gone")

    store.put("x", [b"old"])
    for call in (store.create, store.put):
        with pytest.raises(RuntimeError, match="the source is gone"):
            call("x" if call == store.put else "y", Ending())
    assert [(blob.name, store.get(blob.name)) for blob in store.list()] == [("x", b"old")]
    # Moto answers some of these with 500, when a part arrives at the same time.
    begun = place.proxy.count("POST", query="uploads=*")
    assert place.proxy.count("DELETE", query="uploadId=*") == begun >= 2


def test_what_a_dead_writer_left_is_swept(place: Place, store: BucketStore) -> None:
    store.put("x", [b"1"])
    place.put_foreign("pre/.tmp/otherhost.4711.abcdef", b"12345")
    place.put_foreign(f"pre/.tmp/{os.uname().nodename}.{os.getpid()}.abcdef", b"alive")
    now = store.stat("x").modified
    assert store.sweep_temp(3600, now) == []
    swept = store.sweep_temp(3600, now + 7200)
    assert [(temp.name, temp.size) for temp in swept] == [(".tmp/otherhost.4711.abcdef", 5)]
    assert [blob.name for blob in store.list()] == ["x"]


# Listings.


def test_scenario_102_only_what_lies_below_the_prefix_is_listed(place: Place) -> None:
    place.proxy.when(_in_pages_of(7), method="GET", query="*list-type=2*")
    store = place.store()
    names = sorted(f"d{n % 5}/{n:04}" for n in range(60))
    place.put_many(f"pre/{name}" for name in names)
    for n in range(30):
        place.put_foreign(f"other/{n}")
        place.put_foreign(f"pre2/{n}")
    for key in ("a b", "a+b&c", "é", ".hidden/x", "folder/", "d1/", "x%41", "'", "d1/x y"):
        place.put_foreign(f"pre/{key}", b"")
    assert [blob.name for blob in store.list()] == names
    assert [blob.name for blob in store.list("d3/")] == [n for n in names if n.startswith("d3/")]
    assert [blob.name for blob in store.list("d3/002")] == ["d3/0023", "d3/0028"]
    pages = place.proxy.seen("GET", query="*list-type=2*")
    assert len(pages) > 60 / 7
    assert all("prefix=pre/" in page.query for page in pages)


def _in_pages_of(size: int) -> Fault:
    def fault(request: Request, passing: Pass) -> Reply | None:
        request.target += f"&max-keys={size}"
        return passing()

    return fault


def test_a_listing_that_breaks_off_goes_on_where_it_was(place: Place) -> None:
    place.proxy.when(reset(), method="GET", query="*token*", times=1)
    place.proxy.when(_in_pages_of(7), method="GET", query="*list-type=2*")
    names = [f"{n:04}" for n in range(30)]
    place.put_many(f"pre/{name}" for name in names)
    assert [blob.name for blob in place.store().list()] == names


def test_a_bucket_with_more_foreign_objects_than_a_page_holds(place: Place) -> None:
    place.put_many(f"{'o' if n % 2 else 'q'}/{n:05}" for n in range(1200))
    store = place.store()
    store.create("x", [b"1"])
    before = place.proxy.count()
    assert [blob.name for blob in store.list()] == ["x"]
    assert place.proxy.count() == before + 1


def test_scenario_101_a_stale_listing_hides_nothing_that_is_asked_for_by_name(
    place: Place, store: BucketStore
) -> None:
    place.proxy.when(stale(), method="GET", query="*list-type=2*")
    assert list(store.list()) == []
    store.create("x", [b"1"])
    assert list(store.list()) == []
    assert store.get("x") == b"1"
    assert store.stat("x").size == 1


@pytest.mark.parametrize("key", ["a//b", "../x", "./x"])
def test_a_name_that_hides_others_is_an_error(place: Place, store: BucketStore, key: str) -> None:
    place.put_foreign(f"pre/{key}")
    with pytest.raises(errors.ForeignObject, match=f"no path has: 'pre/{key}'") as caught:
        list(store.list())
    assert caught.value.hint == "move it away: pgkeep wrote none"


# What the service says no to.


@pytest.mark.parametrize(
    ("status", "code", "kind", "why"),
    [
        (403, "AccessDenied", errors.StoreDenied, "s3:PutObject is needed"),
        (403, "InvalidAccessKeyId", errors.CredentialsRefused, "the access key is not known there"),
        (403, "SignatureDoesNotMatch", errors.CredentialsRefused, "the secret is not the access"),
        (403, "RequestTimeTooSkewed", errors.ClockSkewed, "this host's clock is wrong"),
        (400, "ExpiredToken", errors.CredentialsExpired, "the credentials have expired"),
        (404, "NoSuchBucket", errors.BucketMissing, "there is no bucket faults-"),
        (301, "PermanentRedirect", errors.WrongRegion, "the bucket is not in eu-central-1"),
        (501, "NotImplemented", errors.StoreLacks, "only if its name is free"),
        (503, "SlowDown", errors.StoreThrottled, "it asks for fewer requests"),
        (418, "Teapot", StoreFailed, "S3 answered 418 Teapot: short and stout"),
    ],
)
def test_every_refusal_has_its_name(
    place: Place, status: int, code: str, kind: type[StoreFailed], why: str
) -> None:
    store = place.store(retry_for="0s")
    place.proxy.when(refuse(status, code, "short and stout"))
    with pytest.raises(kind) as caught:
        store.create("x", [b"1"])
    assert type(caught.value) is kind
    assert caught.value.exit_status == 24
    assert why in str(caught.value)
    assert SECRET not in f"{caught.value} {caught.value.hint}"
    assert pickle.loads(pickle.dumps(caught.value)).facts() == caught.value.facts()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", errors.StoreDenied),
        (403, "InvalidAccessKeyId", errors.CredentialsRefused),
        (403, "RequestTimeTooSkewed", errors.ClockSkewed),
        (400, "ExpiredToken", errors.CredentialsExpired),
        (400, "AuthorizationHeaderMalformed", errors.WrongRegion),
        (429, "SlowDown", errors.StoreThrottled),
        (403, "", errors.StoreDenied),
    ],
)
def test_a_look_that_is_refused_is_explained(
    place: Place, status: int, code: str, kind: type[StoreFailed]
) -> None:
    """An answer to HEAD has no body: the reason is asked for with a GET, where it is the same."""
    store = place.store(retry_for="0s")
    store.create("x", [b"1"])
    place.proxy.when(refuse(status, code))
    with pytest.raises(kind) as caught:
        store.stat("x")
    assert type(caught.value) is kind
    assert f"S3 answered {status} {code}".rstrip() in str(caught.value)


def test_the_right_region_is_told(place: Place, store: BucketStore) -> None:
    body = "the region 'eu-central-1' is wrong; expecting 'us-west-2'"
    place.proxy.when(refuse(400, "AuthorizationHeaderMalformed", body))
    with pytest.raises(errors.WrongRegion, match="in us-west-2, not in eu-central-1") as caught:
        store.get("x")
    assert caught.value.hint == 'set region = "us-west-2"'


@pytest.mark.parametrize("method", ["GET", "HEAD", "GET|HEAD"])
def test_denied_is_not_missing(place: Place, store: BucketStore, method: str) -> None:
    """Without s3:ListBucket S3 says 403 of what is not there."""
    place.proxy.when(refuse(403, "AccessDenied"), method=method)
    get, stat = (lambda: store.get("nothing")), (lambda: store.stat("nothing"))
    calls: dict[str, list[Callable[[], object]]]
    calls = {"GET": [get], "HEAD": [stat], "GET|HEAD": [get, stat]}
    for call in calls[method]:
        with pytest.raises(errors.StoreDenied, match="s3:GetObject is needed"):
            call()


def test_every_permission_is_named(place: Place, store: BucketStore) -> None:
    place.proxy.when(refuse(403, "AccessDenied"))
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: store.put("x", [b""]), "s3:PutObject"),
        (lambda: list(store.list()), "s3:ListBucket"),
        (lambda: store.delete("x"), "s3:DeleteObject"),
        (lambda: store.get("x"), "s3:GetObject"),
    ]
    for call, permission in calls:
        with pytest.raises(errors.StoreDenied, match=f"{permission} is needed"):
            call()


def test_a_missing_bucket_is_no_missing_blob(s3_server: ObjectServer, place: Place) -> None:
    store = place._replace(bucket="nobody-made-it").store()
    calls: Sequence[Callable[[], object]] = (
        lambda: store.get("x"),
        lambda: store.stat("x"),
        lambda: store.create("x", [b""]),
        lambda: store.delete("x"),
        lambda: list(store.list()),
        lambda: make_store(store.address),
    )
    for call in calls:
        with pytest.raises(errors.BucketMissing) as caught:
            call()
    assert caught.value.hint == (
        "make the bucket nobody-made-it first, or correct the url; pgkeep makes none"
    )


def test_a_store_that_gives_no_reasons_is_asked_twice(place: Place, store: BucketStore) -> None:
    place.proxy.when(refuse(404, ""), method="GET|HEAD", path="*/pre/x")
    with pytest.raises(BlobMissing):
        store.get("x")
    place.proxy.when(refuse(404, ""), method="GET|HEAD")
    with pytest.raises(StoreFailed):
        store.get("x")


def test_a_store_that_ignores_conditions_is_noticed_by_nobody_but_check(
    place: Place, store: BucketStore
) -> None:
    """What such a store does; `pgkeep check` is to find it out."""
    place.proxy.when(unconditional(), method="PUT")
    store.create("x", [b"1"])
    store.create("x", [b"2"])
    assert store.get("x") == b"2"


# Nobody there, and who should not be.


@pytest.mark.parametrize(
    ("endpoint", "kind", "why"),
    [
        ("http://127.0.0.1:1", errors.StoreUnreachable, "nobody listens at http://127.0.0.1:1"),
        ("http://nowhere.invalid", errors.StoreUnreachable, "leads to no address (DNS)"),
    ],
)
def test_wrong_endpoints(place: Place, endpoint: str, kind: type[StoreFailed], why: str) -> None:
    store = place.store(endpoint=endpoint, retry_for="0s")
    for call in (lambda: store.get("x"), lambda: store.put("x", [b""]), lambda: list(store.list())):
        with pytest.raises(kind) as caught:
            call()
        assert why in str(caught.value)


def test_a_store_that_is_away_for_a_moment_is_waited_for(place: Place) -> None:
    store = place.store(retry_for="30s")
    store.create("x", [b"1"])
    with place.proxy.dead():
        with pytest.raises(errors.StoreUnreachable, match=r"the connection to .* broke"):
            place.store(retry_for="0s").get("x")
        place.proxy.heal()
        assert store.get("x") == b"1"


def test_credentials_that_rotate_are_read_anew(place: Place) -> None:
    """The first key is refused from some moment on; the file has got the next one by then."""
    store = place.store()
    store.create("x", [b"1"])
    old = place.credentials.read_text()
    place.proxy.when(_refuse_key("AKIAEXAMPLE0EXAMPLE0"))
    fresh = place.credentials.with_name("fresh")
    fresh.write_text(old.replace("AKIAEXAMPLE0EXAMPLE0", "AKIANEXT"))
    fresh.chmod(0o600)
    fresh.rename(place.credentials)
    assert store.get("x") == b"1"


def _refuse_key(key: str) -> Fault:
    expired = refuse(400, "ExpiredToken")

    def fault(request: Request, passing: Pass) -> Reply | None:
        known = key in request.headers.get("authorization", "")
        return expired(request, passing) if known else passing()

    return fault


@pytest.mark.parametrize("verb", ["create", "stat"])
def test_a_token_that_expires_is_renewed_by_its_program(
    place: Place, tmp_path: Path, verb: str
) -> None:
    place.put_foreign("pre/there")
    place.proxy.when(_refuse_key("AKIA1"))
    program = tmp_path / "program"
    program.write_text(
        f"#!/bin/sh\nn=$(cat {tmp_path}/n 2>/dev/null || echo 1)\necho $((n + 1)) > {tmp_path}/n\n"
        'echo "{\\"AccessKeyId\\": \\"AKIA$n\\", \\"SecretAccessKey\\": \\"s\\"}"\n'
    )
    program.chmod(0o755)
    place.credentials.write_text(f"[default]\ncredential_process = {program}\n")
    store = place.store(retry_for="5s")
    store.create("x", [b"1"]) if verb == "create" else store.stat("there")
    assert (tmp_path / "n").read_text() == "3\n"


def test_a_proxy_on_the_way_is_used(place: Place) -> None:
    endpoint = place.server.endpoint
    store = place.store(endpoint=endpoint, proxy=place.proxy.endpoint)
    store.create("x", [b"1"])
    assert store.get("x") == b"1"
    assert place.proxy.count() == 2


def test_a_private_ca_is_trusted_when_it_is_named(place: Place, tmp_path: Path) -> None:
    certificate, key = _self_signed(tmp_path)
    with FaultProxy(place.server.endpoint, tls=(str(certificate), str(key))) as proxy:
        stranger = place.store(endpoint=proxy.endpoint, retry_for="0s")
        with pytest.raises(errors.StoreUntrusted, match="is not trusted") as caught:
            stranger.put("x", [b"1"])
        assert caught.value.hint == "name the CA that signed it: ca_file"
        known = place.store(endpoint=proxy.endpoint, ca_file=str(certificate))
        known.create("x", [b"1"])
        assert known.get("x") == b"1"
        wrong = place.store(endpoint=proxy.endpoint, ca_file=str(tmp_path / "none.pem"))
        with pytest.raises(errors.CredentialsMissing, match=r"none\.pem cannot be read"):
            wrong.get("x")
    plain = place.server.endpoint.replace("http://", "https://")
    with pytest.raises(errors.StoreUntrusted, match="does not speak TLS"):
        place.store(endpoint=plain, retry_for="0s").get("x")


def _self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    place = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(place, critical=False)
        .sign(key, SHA256())
    )
    certificate, private = folder / "ca.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, private


def test_a_forked_process_is_told_so_and_does_not_hang(store: BucketStore) -> None:
    """obstore's threads are not there after a fork: every request would wait for ever."""
    store.put("x", [b"1"])
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            open_store(store.address).get("x")
        except errors.StoreForked:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
