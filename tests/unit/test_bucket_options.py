"""What the address of a bucket says, and what it may not say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgkeep.config_file import ConfigValue, repository_url
from pgkeep.repository.store.bucket.options import BucketOptions, parse
from pgkeep.repository.store.open import BadStoreUrl, open_store


def test_an_address_says_where_and_how() -> None:
    found = parse(
        "s3://backups/db/one?endpoint=https://minio.example:9000&region=eu-central-1"
        "&path_style=true&retry_for=5min&part_size=8MiB&storage_class=STANDARD_IA"
    )
    assert (found.scheme, found.bucket, found.prefix) == ("s3", "backups", "db/one")
    assert (found.endpoint, found.region) == ("https://minio.example:9000", "eu-central-1")
    assert (found.path_style, found.retry_for, found.part_size) == (True, 300, 8 << 20)
    assert found.url == "s3://backups/db/one"
    assert open_store(found.address).url == "s3://backups/db/one"


def test_what_is_not_said_is_the_services_to_say() -> None:
    assert parse("gs://backups") == BucketOptions("gs", "backups", "")
    assert parse("gs://backups/").address == "gs://backups"
    assert parse("az://backups?retry_for=0s").retry_for == 0


@given(
    st.sampled_from(("s3", "gs", "az")),
    st.sampled_from(("", "a", "a/b-c")),
    st.text(st.characters(categories=("L", "N", "P")), max_size=20),
    st.integers(1, 3600),
    st.booleans(),
)
def test_an_address_leads_to_the_same_options_in_another_process(
    scheme: str, prefix: str, word: str, seconds: int, truth: bool
) -> None:
    options = BucketOptions(
        scheme, "bucket", prefix, credentials_file=f"/{word}", timeout=seconds, retry_for=seconds
    )
    if scheme == "s3":
        options = options._replace(profile=word, path_style=truth)
    assert parse(options.address) == options


@pytest.mark.parametrize(
    ("address", "message", "hint"),
    [
        pytest.param(
            "s3://AKIA:hunter2@backups/x?region=r",
            "cannot use 's3://backups/x' as a repository: it has a user or a secret in it, and "
            "addresses are shown and stored",
            "name a credentials_file, a profile or the environment",
            id="secret in front",
        ),
        pytest.param(
            "gs://backups?secret_key=hunter2",
            "cannot use 'gs://backups' as a repository: Google Cloud Storage has no option "
            "'secret_key'",
            "there is ca_file, connect_timeout, credentials_file, endpoint, part_size, proxy, "
            "retry_for, storage_class, timeout",
            id="unknown",
        ),
        pytest.param(
            "az://backups?region=x",
            "cannot use 'az://backups' as a repository: Azure Blob Storage has no option 'region'",
            "there is account, ca_file, connect_timeout, credentials_file, endpoint, part_size, "
            "proxy, retry_for, timeout",
            id="of another service",
        ),
        pytest.param(
            "s3://backups?timeout=soon",
            "cannot use 's3://backups' as a repository: timeout cannot be 'soon'",
            "write it like 90s, 15min, 14d, 2w",
            id="no duration",
        ),
        pytest.param(
            "s3://backups?part_size=1MiB",
            "cannot use 's3://backups' as a repository: part_size cannot be '1MiB'",
            "it takes 5MiB to 1024MiB",
            id="small parts",
        ),
        pytest.param(
            "s3://backups?region=a&region=b",
            "cannot use 's3://backups' as a repository: region is there twice",
            "keep one: the config's options and the url's come together",
            id="twice",
        ),
        pytest.param(
            "s3://Backups_",
            "cannot use 's3://Backups_' as a repository: 'Backups_' is no name of a bucket",
            "write it like s3://my-backups/pgkeep",
            id="no bucket",
        ),
        pytest.param(
            "s3://backups/a//b",
            "cannot use 's3://backups/a//b' as a repository: 'a//b' cannot be where a repository "
            "begins",
            "use letters, digits, '.', '_', '-' and '/', at most 120 of them",
            id="bad prefix",
        ),
        pytest.param(
            "s3://backups?kms_key=arn:aws:kms:x",
            "cannot use 's3://backups' as a repository: kms_key is of no use without encryption by "
            "KMS",
            "add server_side_encryption = aws:kms",
            id="key without encryption",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(address: str, message: str, hint: str) -> None:
    with pytest.raises(BadStoreUrl) as caught:
        open_store(address)
    assert (str(caught.value), caught.value.hint) == (message, hint)
    assert "hunter2" not in repr(caught.value.facts())


@pytest.mark.parametrize(
    "option", ["endpoint=ftp://x", "endpoint=http://u:p@x", "proxy=x", "ca_file=x", "path_style=1",
               "server_side_encryption=x", "connect_timeout=0s", "retry_for=2h", "profile=a%00b"],
)  # fmt: skip
def test_values_that_cannot_be(option: str) -> None:
    with pytest.raises(BadStoreUrl, match=f"{option.partition('=')[0]} cannot be"):
        parse(f"s3://backups?{option}")


def test_the_config_makes_the_address() -> None:
    table: dict[str, object] = {
        "url": "s3://backups/db?region=x",
        "credentials_file": "keys",
        "path_style": True,
        "ca_file": "~root/ca.pem",
        "endpoint": "https://minio:9000",
        "profile": "",
        "encryption": "none",
    }
    address = repository_url("/etc/pgkeep/pgkeep.toml", table)
    assert parse(address) == BucketOptions(
        "s3",
        "backups",
        "db",
        region="x",
        credentials_file="/etc/pgkeep/keys",
        path_style=True,
        ca_file="/root/ca.pem",
        endpoint="https://minio:9000",
    )


def test_a_directory_takes_no_options_of_buckets() -> None:
    with pytest.raises(ConfigValue, match=r"^cannot use repository\.region of /x/pgkeep\.toml: "):
        repository_url("/x/pgkeep.toml", {"url": "/var/lib/pgkeep", "region": "x"})
