"""Object stores that run here, each in a process of its own: moto for S3.

A server that is not installed is skipped, loudly; where CI is set it fails the test instead.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import quote

import pytest

KEY, SECRET = "AKIAEXAMPLE0EXAMPLE0", "topsecretSECRETtopsecretSECRETtopsecret1"
REGION = "eu-central-1"
_MOTO = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


class ObjectServer(NamedTuple):
    """A running server: where it is, and what its buckets' addresses look like."""

    scheme: str
    endpoint: str

    def address(self, bucket: str, prefix: str = "", endpoint: str = "", **options: str) -> str:
        """Return a bucket's address, at another endpoint if one stands between."""
        given = {"endpoint": endpoint or self.endpoint, "retry_budget": "2s", **options}
        if self.scheme == "s3":
            given.setdefault("region", REGION)
        query = "&".join(f"{name}={quote(value, safe='/:')}" for name, value in given.items())
        return f"{self.scheme}://{bucket}{f'/{prefix}' if prefix else ''}?{query}"

    def make_bucket(self, bucket: str) -> None:
        s3_client(self.endpoint).create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )


def s3_client(endpoint: str):  # type: ignore[no-untyped-def]
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
def moto_server() -> Iterator[ObjectServer]:
    """Run moto's S3 until the block ends."""
    require("moto", "pip install 'moto[server]'")
    with subprocess.Popen(
        [sys.executable, "-c", _MOTO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            yield ObjectServer("s3", f"http://127.0.0.1:{port}")
        finally:
            process.kill()


def require(module: str, advice: str) -> None:
    """Skip the test, or fail it in CI, where a module is not installed."""
    try:
        __import__(module)
    except ImportError:
        missing(f"{module} is not installed: {advice}")


def missing(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
