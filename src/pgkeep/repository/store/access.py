"""The section of pgkeep.toml that says where a repository is, and how to get there.

It holds no secret. What concerns stores on other machines is declared here and travels in the
store's address: config_file.repository_url puts it there, the stores' own parsers
(bucket/options.py, sftp/address.py) read it.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from pgkeep.units import Duration, Size

LIST_PRICE: Final = -1.0  # nothing was given


class PricesConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the provider charges, for `pgkeep cost`. What isn't given (-1) is the list price."""

    write: Annotated[
        float,
        Meta(ge=0, description="1,000 requests that store or list.", examples=[0.005]),
    ] = LIST_PRICE
    read: Annotated[
        float, Meta(ge=0, description="1,000 requests that read.", examples=[0.0004])
    ] = LIST_PRICE
    egress: Annotated[
        float,
        Meta(
            ge=0,
            description="A GB (2^30 bytes) that is read. 0 where it doesn't leave the provider's "
            "network.",
            examples=[0.09],
        ),
    ] = LIST_PRICE
    stored: Annotated[float, Meta(ge=0, description="A GB kept for a month.", examples=[0.023])] = (
        LIST_PRICE
    )


class _StoreAccess(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to reach a store on another machine, and what to ask of it."""

    endpoint: Annotated[
        str,
        Meta(
            description="Buckets: where the service is, if it is not the provider's own. For az:// "
            "with the account's name at the end where the server has them so.",
            examples=["https://minio.example.com:9000"],
        ),
    ] = ""
    region: Annotated[
        str,
        Meta(description="s3:// only: the bucket's region.", examples=["eu-central-1"]),
    ] = ""
    path_style: Annotated[
        bool,
        Meta(
            description="s3:// only: whether the bucket stands in the path of requests, or in the "
            "host's name. Unless given, in the path wherever there is an `endpoint`."
        ),
    ] = False
    credentials_file: Annotated[
        str,
        Meta(
            description="Buckets: the file with the credentials. s3://: like ~/.aws/credentials; "
            "gs://: a service account's key (JSON); az://: a line with the account's key, a shared "
            "access signature or a connection string. The server's user must be able to read it, "
            "because PostgreSQL archives in an environment of its own.",
            examples=["/etc/pgkeep/bucket-credentials"],
        ),
    ] = ""
    profile: Annotated[
        str,
        Meta(
            description="s3:// only: which profile of the credentials file, else of ~/.aws.",
            examples=["backup"],
        ),
    ] = ""
    account: Annotated[
        str, Meta(description="az:// only: the storage account.", examples=["mycompany"])
    ] = ""
    storage_class: Annotated[
        str,
        Meta(
            description="s3:// and gs://: the class of objects of 128 KiB and more. Only one that "
            "gives them at once: not GLACIER or DEEP_ARCHIVE.",
            examples=["STANDARD_IA"],
        ),
    ] = ""
    server_side_encryption: Annotated[
        Literal["", "AES256", "aws:kms", "aws:kms:dsse"],
        Meta(description="s3:// only: how the service encrypts, beside the repository's own."),
    ] = ""
    kms_key: Annotated[
        str,
        Meta(
            description="s3:// only: the key for aws:kms; empty: the account's own.",
            examples=["arn:aws:kms:eu-central-1:123456789012:key/1234abcd"],
        ),
    ] = ""
    ca_file: Annotated[
        str,
        Meta(
            description="Buckets: a file with certificates (PEM) of CAs to trust, beside the "
            "well-known ones.",
            examples=["/etc/pgkeep/ca.pem"],
        ),
    ] = ""
    proxy: Annotated[
        str,
        Meta(
            description="Buckets: the HTTP proxy on the way.",
            examples=["http://proxy.example.com:3128"],
        ),
    ] = ""
    part_size: Annotated[
        Size,
        Meta(
            description="Buckets: how much goes in one request of a large object, 5MB to 1GB. "
            "Objects up to four times as large go in one; so much may lie in memory."
        ),
    ] = Size(16 << 20)
    connect_timeout: Annotated[
        Duration, Meta(description="Buckets: how long to wait for a connection.")
    ] = Duration(10)
    identity_file: Annotated[
        str,
        Meta(
            description="sftp:// only: the private key to log in with; it needs no passphrase, or "
            "an agent that holds it. Without this, the agent's keys and the user's own are tried.",
            examples=["/etc/pgkeep/id_ed25519"],
        ),
    ] = ""
    known_hosts: Annotated[
        str,
        Meta(
            description="sftp:// only: the file that knows the host's key, instead of the user's "
            "own ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts.",
            examples=["/etc/pgkeep/known_hosts"],
        ),
    ] = ""
    timeout: Annotated[
        Duration,
        Meta(description="Other machines: how long to wait for one answer."),
    ] = Duration(60)
    retry_for: Annotated[
        Duration,
        Meta(
            description="Other machines: how long to go on trying when requests fail or the "
            "connection is lost, up to an hour; 0s: not at all. Unless given: 30s for buckets, 10s "
            "for sftp://. `pgkeep-wal` tries five times as long, and so long PostgreSQL's own "
            "shutdown may wait for it.",
        ),
    ] = Duration(30)


class RepositoryConfig(_StoreAccess, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where backups and archived WAL are kept. Written [[repository]] there may be several."""

    name: Annotated[
        str,
        Meta(
            description="What commands and reports call it (`--repository offsite`). Needed as "
            "soon as there are several.",
            examples=["offsite"],
        ),
    ] = ""
    url: Annotated[
        str,
        Meta(
            min_length=1,
            description="The repository's address: a path (a relative one starts at this file's "
            "folder), a file:// address, s3://, gs:// or az://bucket/prefix, or "
            "sftp://user@host/path. Keep it on other disks than the database, and best on another "
            "machine's.",
            examples=["/var/lib/pgkeep"],
        ),
    ]
    site: Annotated[
        str,
        Meta(
            description="Where it is, if that is another site than the database's: for `pgkeep "
            "check --321`, which knows clouds by their addresses and takes your word for the rest.",
            examples=["Oslo"],
        ),
    ] = ""
    encryption: Annotated[
        Literal["none", "passphrase"],
        Meta(
            description="Whether `pgkeep init` makes an encrypted repository (AES-256-GCM). It is "
            "decided once: an existing repository keeps what it was made with."
        ),
    ] = "none"
    passphrase_file: Annotated[
        str,
        Meta(
            description="A file that holds the passphrase or the recovery key as its only line, "
            "readable by its owner alone. `$PGKEEP_PASSPHRASE` goes first. The passphrase itself "
            "never stands in pgkeep.toml.",
            examples=["/etc/pgkeep/passphrase"],
        ),
    ] = ""
    passphrase_command: Annotated[
        str,
        Meta(
            description="A shell command that prints the passphrase within 30 s, for a vault.",
            examples=["pass show pgkeep"],
        ),
    ] = ""
    lock: Annotated[
        Literal["none", "governance", "compliance"],
        Meta(
            description="s3:// only (immutable.md says what else to use): whether `pgkeep lock`, "
            "and every backup and dump at its end, lock in the bucket what retention keeps, so "
            "that nobody can delete it. A lock of mode compliance is lifted by nobody at all."
        ),
    ] = "none"
    lock_ahead: Annotated[
        Duration,
        Meta(
            description="How long everything that is kept is locked at least, from each look on: "
            "so long it is safe when nothing extends locks any more.",
            examples=["30d"],
        ),
    ] = Duration(14 * 86400)
    lock_maximum: Annotated[
        Duration,
        Meta(
            description="How far no lock ever reaches beyond the moment in which it is set: what "
            "is kept longer is locked again and again.",
            examples=["180d"],
        ),
    ] = Duration(90 * 86400)
    compression_level: Annotated[
        int,
        Meta(
            ge=1, le=19, description="zstd level. 1 keeps up with fast disks; 3 to 9 save little."
        ),
    ] = 1
    prices: PricesConfig = PricesConfig()
