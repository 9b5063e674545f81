"""From options and credentials to a client of obstore."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pgkeep.repository.store.bucket.errors import CredentialsMissing
from pgkeep.repository.store.bucket.options import SERVICES, BucketOptions

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

    Client = AzureStore | GCSStore | S3Store

_INCOMPLETE: Final = {
    "s3": "check region, endpoint and the credentials, see docs/object-stores.md",
    "gs": "credentials_file takes a service account's key, as JSON",
    "az": 'say whose the container is: account = "..."',
}
_WHOLE: Final = timedelta(hours=6)  # the longest that one request may go on, byte by byte


def open_client(options: BucketOptions, settings: dict[str, str]) -> "Client":
    """Make a client that tries everything once; nothing is asked of the service yet.

    `settings` are credentials, as obstore names them. Raise CredentialsMissing.
    """
    from obstore.exceptions import BaseError

    common: dict[str, Any] = {
        "prefix": options.prefix or None,
        "client_options": _http(options),
        "retry_config": {"max_retries": 0},
    }
    make = {"s3": _s3, "gs": _gs, "az": _az}[options.scheme]
    try:
        return make(options, settings, common)
    except (BaseError, ValueError) as error:
        # Its own words may repeat what it was given.
        why = f"{SERVICES[options.scheme]} cannot be used with these options and credentials"
        advice = _INCOMPLETE[options.scheme]
        raise CredentialsMissing(options.url, "open the bucket", why, advice) from error


def _http(options: BucketOptions) -> dict[str, Any]:
    found: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=options.connect_timeout),
        "read_timeout": timedelta(seconds=options.timeout),
        "timeout": _WHOLE,
        "user_agent": "pgkeep",
        "allow_http": options.endpoint.startswith("http://"),
    }
    if options.proxy:
        found["proxy_url"] = options.proxy
    if options.ca_file:
        found["root_certificate"] = _certificates(options)
    return found


def _certificates(options: BucketOptions) -> bytes:
    try:
        with open(options.ca_file, "rb") as file:
            return file.read(1 << 20)
    except OSError as error:
        why = f"ca_file {options.ca_file} cannot be read: {error.strerror}"
        advice = "WAL is archived by the server's user: let it read this file"
        raise CredentialsMissing(options.url, "open the bucket", why, advice) from error


def _s3(options: BucketOptions, settings: dict[str, str], common: dict[str, Any]) -> "Client":
    from obstore.store import S3Store

    config: dict[str, Any] = {
        **settings,
        # One request for each object: every clone knows it, and its errors name one object.
        "disable_bulk_delete": True,
        # The service refuses what arrives with another checksum.
        "checksum_algorithm": "SHA256",
        "copy_if_not_exists": "multipart",
    }
    if options.endpoint:
        config["endpoint"] = options.endpoint
    if options.region:
        config["region"] = options.region
    if options.server_side_encryption:
        config["server_side_encryption"] = options.server_side_encryption
    if options.kms_key:
        config["sse_kms_key_id"] = options.kms_key
    config["virtual_hosted_style_request"] = not options.bucket_in_path
    return S3Store(options.bucket, **common, **config)


def _gs(options: BucketOptions, settings: dict[str, str], common: dict[str, Any]) -> "Client":
    from obstore.store import GCSStore

    config: dict[str, Any] = dict(settings)
    if options.endpoint:
        config["base_url"] = options.endpoint
    return GCSStore(options.bucket, **common, **config)


def _az(options: BucketOptions, settings: dict[str, str], common: dict[str, Any]) -> "Client":
    from obstore.store import AzureStore

    config: dict[str, Any] = dict(settings)
    if options.account:
        config["account_name"] = options.account
    if options.endpoint:
        config["endpoint"] = options.endpoint
    return AzureStore(options.bucket, **common, **config)
