"""Object stores that run here: moto for S3, azurite for Azure, moto in disguise for Google.

No emulator of Google's XML API, which obstore speaks, could be had as a package. That API is S3's
with other names for headers: so moto answers behind a proxy that translates them.

A server that is not installed is skipped, loudly; where CI is set it fails the test instead.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from functools import cache
from pathlib import Path
from threading import Lock, Thread
from typing import IO, Any, NamedTuple
from urllib.parse import quote, urlsplit

import pytest

from support.fault_proxy import Fault, FaultProxy, Pass, Reply, Request

KEY, SECRET = "AKIAEXAMPLE0EXAMPLE0", "topsecretSECRETtopsecretSECRETtopsecret1"
REGION = "eu-central-1"
# Of the account that Azurite has: published with it, no secret.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
AZURITE = Path(sys.prefix) / "azurite" / "node_modules" / ".bin" / "azurite-blob"
_MOTO = """
import sys
from werkzeug.serving import WSGIRequestHandler
WSGIRequestHandler.disable_nagle_algorithm = True
WSGIRequestHandler.wbufsize = 1 << 20
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("listens on http://127.0.0.1:%s" % server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


class ObjectServer(NamedTuple):
    """A running server: where it is, and what its buckets' addresses look like."""

    scheme: str
    endpoint: str
    behind: str = ""  # the server behind a translation

    def address(self, bucket: str, prefix: str = "", endpoint: str = "", **options: str) -> str:
        """Return a bucket's address, at another endpoint if one stands between."""
        given = {"endpoint": endpoint or self.endpoint, "retry_for": "2s", **options}
        if self.scheme == "s3":
            given.setdefault("region", REGION)
        if self.scheme == "az":
            given["endpoint"] += f"/{AZURE_ACCOUNT}"
            given.setdefault("account", AZURE_ACCOUNT)
        query = "&".join(f"{name}={quote(value, safe='/:')}" for name, value in given.items())
        return f"{self.scheme}://{bucket}{f'/{prefix}' if prefix else ''}?{query}"

    def make_bucket(self, bucket: str) -> None:
        if self.scheme == "az":
            _make_container(self.endpoint, bucket)
            return
        s3_client(self.behind or self.endpoint).create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )

    def credentials(self, file: Path) -> Path:
        """Write the credentials that this server takes, as pgkeep reads them."""
        content = {
            "s3": f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n",
            "gs": json.dumps(
                {"type": "service_account", "disable_oauth": True, "gcs_base_url": self.endpoint}
                | {"client_email": "", "private_key": "", "private_key_id": ""}
            ),
            "az": AZURE_KEY + "\n",
        }
        file.write_text(content[self.scheme])
        file.chmod(0o600)
        return file


@cache
def s3_client(endpoint: str) -> Any:
    """Return a client that is none of ours, to make buckets and look at them from outside."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name=REGION,
    )


@contextmanager
def s3_server() -> Iterator[ObjectServer]:
    """Run moto's S3 until the block ends."""
    _require("moto", "flask", "flask_cors", "boto3")
    with _running([sys.executable, "-c", _MOTO]) as endpoint:
        yield ObjectServer("s3", endpoint)


@contextmanager
def locking_server() -> Iterator[ObjectServer]:
    """Run an S3 server whose buckets can lock objects until the block ends."""
    _require("moto", "flask", "flask_cors", "boto3")
    with _running([sys.executable, str(Path(__file__).with_name("locking_moto.py"))]) as endpoint:
        yield ObjectServer("s3", endpoint)


@contextmanager
def gs_server() -> Iterator[ObjectServer]:
    with s3_server() as moto, FaultProxy(moto.endpoint) as proxy:
        proxy.when(_as_google())
        yield ObjectServer("gs", proxy.endpoint, behind=moto.endpoint)


@contextmanager
def az_server() -> Iterator[ObjectServer]:
    if not AZURITE.exists():
        missing("azurite is not installed: install node and npm, then make setup")
    options = ["--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck", "--silent"]
    with _running([str(AZURITE), *options, "--disableTelemetry"]) as endpoint:
        yield ObjectServer("az", endpoint)


SERVERS = {"s3": s3_server, "gs": gs_server, "az": az_server}


def missing(what: str) -> None:
    """Skip the test, or fail it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


def _require(*modules: str) -> None:
    for module in modules:
        try:
            __import__(module)
        except ImportError:
            missing(f"{module} is not installed: make setup")


@contextmanager
def _running(command: Sequence[str]) -> Iterator[str]:
    """Run a server that says where it listens; give its endpoint."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            endpoint = _endpoint_of(process.stdout)
            # Read on: a server that logs into a full pipe would stand still.
            Thread(target=process.stdout.read, daemon=True).start()
            yield endpoint
        finally:
            process.kill()


def _endpoint_of(output: IO[str]) -> str:
    said = ""
    for line in output:
        said += line
        found = re.search(r"listens on (http://127\.0\.0\.1:[1-9]\d*)", line)
        if found:
            return found[1]
    raise AssertionError(f"the server did not start: {said}")


def _make_container(endpoint: str, container: str) -> None:
    """Azure's own way to sign a request (SharedKey), as obstore can't make containers."""
    date, version = formatdate(usegmt=True), "2021-08-06"
    path = f"/{AZURE_ACCOUNT}/{container}"
    signed = f"PUT\n{chr(10) * 11}x-ms-date:{date}\nx-ms-version:{version}\n"
    signed += f"/{AZURE_ACCOUNT}{path}\nrestype:container"
    mac = hmac.new(base64.b64decode(AZURE_KEY), signed.encode(), hashlib.sha256)
    headers = {
        "x-ms-date": date,
        "x-ms-version": version,
        "Content-Length": "0",
        "Authorization": f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(mac.digest()).decode()}",
    }
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=30)
    connection.request("PUT", f"{path}?restype=container", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 201, answer.read()
    connection.close()


def _as_google() -> Fault:
    """Translate requests as Google's XML API has them into S3's."""
    one_at_a_time = Lock()  # moto's copies know no condition: it is looked up before

    def fault(request: Request, passing: Pass) -> Reply:
        request.target = quote(request.path) + (f"?{request.query}" if request.query else "")
        headers = request.headers
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/{REGION}/s3/aws4_request, "
            "SignedHeaders=host, Signature=0"
        )
        only_new = headers.pop("x-goog-if-generation-match", None) == "0"
        for name in [name for name in headers if name.startswith("x-goog-")]:
            headers[name.replace("x-goog-", "x-amz-")] = headers.pop(name)
        if "x-amz-copy-source" not in headers:
            if only_new:
                headers["if-none-match"] = "*"
            return passing()
        with one_at_a_time:
            taken = only_new and _exists(headers["x-target"], request.path)
            if not taken:
                return passing()
        text = b"<Error><Code>PreconditionFailed</Code></Error>"
        return Reply(412, [("Content-Type", "application/xml")], text)

    return fault


def _exists(endpoint: str, path: str) -> bool:
    bucket, _, key = path.lstrip("/").partition("/")
    found = s3_client(endpoint).list_objects_v2(Bucket=bucket, Prefix=key)
    return any(entry["Key"] == key for entry in found.get("Contents", ()))
