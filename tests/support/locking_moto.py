"""A program: moto's S3, completed by what it lacks of S3 Object Lock, until its input ends.

moto knows no GetObjectRetention and lets locks be shortened; and it asks for a header that AWS does
not need when a checksum is sent, nor for a copy, which has no content. Who may do what is checked,
by moto's own means, once a test has switched that on.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

from moto.s3 import responses
from moto.s3.exceptions import AccessDeniedByLock, MissingVersion, S3ClientError
from moto.server import ThreadedMotoServer
from werkzeug.datastructures import Headers

_ORIGINAL_GET = responses.S3Response._key_response_get
_ORIGINAL_PUT = responses.S3Response._key_response_put
_ORIGINAL_RETAIN = responses.S3Response.put_object_retention
_CODE = "NoSuchObjectLockConfiguration"


class NotLocked(S3ClientError):
    def __init__(self) -> None:
        super().__init__(_CODE, "The specified object does not have a ObjectLock configuration")


def _get(self: Any, query: dict[str, Any], key_name: str) -> Any:
    if "retention" not in query:
        return _ORIGINAL_GET(self, query, key_name)
    self._set_action("KEY", "GET", query)
    self._authenticate_and_authorize_s3_action(bucket_name=self.bucket_name, key_name=key_name)
    key = _version(self, key_name)
    if not key.lock_mode:
        raise NotLocked
    text = (
        f"<Retention><Mode>{key.lock_mode}</Mode>"
        f"<RetainUntilDate>{key.lock_until}</RetainUntilDate></Retention>"
    )
    return 200, {"content-type": "application/xml"}, text


def _put(self: Any, *arguments: Any, **more: Any) -> Any:
    names = [name.lower() for name in dict(self.headers)]
    sent = any(name.startswith(("x-amz-checksum-", "x-amz-copy-source")) for name in names)
    if sent and "x-amz-sdk-checksum-algorithm" not in names:  # which may be signed
        self.headers = Headers([*self.headers.items(), ("x-amz-sdk-checksum-algorithm", "SHA256")])
    return _ORIGINAL_PUT(self, *arguments, **more)


def _retain(self: Any) -> Any:
    key = _version(self, self.parse_key_name())
    mode, until = self._mode_until_from_body()
    weaker = key.lock_mode == "COMPLIANCE" and mode != "COMPLIANCE"
    if key.lock_mode and (weaker or _moment(until) < _moment(key.lock_until)):
        raise AccessDeniedByLock
    return _ORIGINAL_RETAIN(self)


def _version(self: Any, name: str) -> Any:
    version = self._get_param("versionId")
    key = self.backend.get_object(self.bucket_name, name, version_id=version)
    if key is None:
        raise MissingVersion(key=name, version_id=version)
    return key


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def main() -> None:
    responses.ACTION_MAP["KEY"]["GET"]["retention"] = "GetObjectRetention"
    responses.ACTION_MAP["KEY"]["PUT"]["retention"] = "PutObjectRetention"
    responses.ACTION_MAP["BUCKET"]["GET"]["object-lock"] = "GetBucketObjectLockConfiguration"
    for name, patched in (
        ("_key_response_get", _get), ("_key_response_put", _put), ("put_object_retention", _retain)
    ):  # fmt: skip
        setattr(responses.S3Response, name, patched)
    # Nobody reads on once it is known where the server listens: a full pipe would stop it.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(f"listens on http://127.0.0.1:{server.get_host_and_port()[1]}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
