"""The sections of pgkeep.toml about the service: when jobs run, what is aimed at, who is told."""

from typing import Annotated, Final

from msgspec import Meta

from pgkeep.config.options import Options
from pgkeep.config_reader import Secret
from pgkeep.units import Duration

# What a schedule runs: the options of ScheduleConfig that are times.
JOBS: Final = ("backup", "dump", "drill", "verify", "expire", "copy", "census", "checklist")
LEAST_LIMIT: Final = 60  # seconds
LEVELS: Final = ("critical", "warning", "digest")  # what a channel may hear of


class ScheduleConfig(Options, frozen=True, kw_only=True):
    """When `pgkeep serve` runs this cluster's jobs.

    Each is cron's five fields, or words: `daily 02:00`, `weekly sun 03:00`, `monthly`,
    `every 6h`, `never`; several times are separated by `;`.
    """

    backup: Annotated[
        str, Meta(description="`pgkeep backup`.", examples=["daily 02:00", "0 2 * * *"])
    ] = ""
    dump: Annotated[
        str, Meta(description="`pgkeep dump create --all`.", examples=["daily 04:00"])
    ] = ""
    drill: Annotated[
        str, Meta(description="`pgkeep drill`: a restore test.", examples=["monthly 1 06:00"])
    ] = ""
    verify: Annotated[str, Meta(description="`pgkeep verify`.", examples=["weekly sun 05:00"])] = ""
    expire: Annotated[
        str,
        Meta(
            description="`pgkeep expire` in each repository of this file, by the policy that it "
            "has there.",
            examples=["daily 07:00"],
        ),
    ] = ""
    copy: Annotated[
        str,
        Meta(
            description="`pgkeep copy` from the first repository to each other one of this file; "
            "with `--policy` where `expire` has a time.",
            examples=["every 6h"],
        ),
    ] = ""
    census: Annotated[
        str,
        Meta(
            description="`pgkeep census take`: names for `pgkeep undo find`.",
            examples=["every 1h"],
        ),
    ] = ""
    checklist: Annotated[
        str,
        Meta(
            description="`pgkeep checklist --record`: keeps what it says and how much is stored.",
            examples=["daily 08:00"],
        ),
    ] = ""
    zone: Annotated[
        str,
        Meta(
            description="The zone of these times. Empty: `timezone` of this file.",
            examples=["Europe/Berlin"],
        ),
    ] = ""
    jitter: Annotated[
        Duration,
        Meta(
            description="Each job starts up to this much later, always by the same amount, so that "
            "many clusters do not start at once.",
            examples=["10min"],
        ),
    ] = Duration(0)
    not_during: Annotated[
        list[str],
        Meta(
            description="Maintenance windows in which nothing is started; what is due then starts "
            "at their end.",
            examples=[["mon-fri 08:00-18:00"]],
        ),
    ] = []
    catch_up: Annotated[
        bool,
        Meta(
            description="Whether what was due while the service was not running is done at once, "
            "one time each."
        ),
    ] = True
    time_limit: Annotated[
        Duration, Meta(description="A job that takes longer is stopped.", examples=["12h"])
    ] = Duration(86400)


class ObjectivesConfig(Options, frozen=True, kw_only=True):
    """What is promised to those who use the database; `pgkeep status` measures it."""

    rpo: Annotated[
        Duration,
        Meta(
            description="Recovery point objective: the most that may be lost. Empty: none.",
            examples=["60s"],
        ),
    ] = Duration(0)
    rto: Annotated[
        Duration,
        Meta(
            description="Recovery time objective: the longest that a restore may take. Empty: "
            "none.",
            examples=["1h"],
        ),
    ] = Duration(0)
    drill_every: Annotated[
        Duration,
        Meta(description="A restore test that passed must be no older.", examples=["35d"]),
    ] = Duration(35 * 86400)


class ServiceConfig(Options, frozen=True, kw_only=True):
    """The service: `pgkeep serve`."""

    listen: Annotated[
        str,
        Meta(
            description="Where the page, /api and /metrics are: address and port. Beyond "
            "127.0.0.1 and ::1 it takes users and TLS.",
            examples=["127.0.0.1:8426", "0.0.0.0:8426"],
        ),
    ] = "127.0.0.1:8426"
    state_directory: Annotated[
        str,
        Meta(
            description="Where the service keeps its users, its memory of jobs and their logs. "
            "Empty: $STATE_DIRECTORY, else $XDG_STATE_HOME/pgkeep or ~/.local/state/pgkeep.",
            examples=["/var/lib/pgkeep-service"],
        ),
    ] = ""
    tls_certificate: Annotated[
        str,
        Meta(description="A PEM file with the certificate.", examples=["/etc/pgkeep/tls.crt"]),
    ] = ""
    tls_key: Annotated[
        str, Meta(description="A PEM file with its key.", examples=["/etc/pgkeep/tls.key"])
    ] = ""
    allow_insecure: Annotated[
        bool,
        Meta(
            description="Listen beyond this host without TLS, behind a proxy that has it. Users "
            "are needed all the same."
        ),
    ] = False
    hosts: Annotated[
        list[str],
        Meta(
            description="Names by which browsers may call it, where a proxy or a name of its own "
            "leads here. On this host 127.0.0.1, ::1 and localhost always may.",
            examples=[["backup.example.com"]],
        ),
    ] = []
    restore_directories: Annotated[
        list[str],
        Meta(
            description="Folders below which the page and /api may restore. Empty: nowhere, and "
            "restores are for the command line.",
            examples=[["/srv/restore"]],
        ),
    ] = []
    jobs: Annotated[
        int, Meta(ge=1, le=64, description="How many jobs run at once, of all clusters.")
    ] = 2
    look_every: Annotated[
        Duration,
        Meta(description="How often each cluster's health is looked at.", examples=["30s"]),
    ] = Duration(60)
    keep_jobs: Annotated[
        Duration,
        Meta(
            description="How long jobs and their logs stay; of one kind and cluster no more than "
            "the newest 300.",
            examples=["90d"],
        ),
    ] = Duration(90 * 86400)
    keep_acts: Annotated[
        Duration,
        Meta(
            description="How long the audit log and evidence in the repository stay; `pgkeep "
            "expire` removes what is older, never the newest of a kind.",
            examples=["400d"],
        ),
    ] = Duration(400 * 86400)


class ChannelConfig(Options, frozen=True, kw_only=True):
    """Somebody who is told: a mailbox, a chat, a pager, a webhook."""

    name: Annotated[str, Meta(description="What it is called.", examples=["dba-mail"])]
    url: Annotated[
        Secret,
        Meta(
            description="Where to, as apprise writes it.",
            examples=["mailtos://user:password@example.com?to=dba@example.com"],
        ),
    ] = Secret("")
    url_file: Annotated[
        str,
        Meta(description="A file that has it, instead.", examples=["/etc/pgkeep/pager.url"]),
    ] = ""
    levels: Annotated[
        list[str],
        Meta(
            description="What it hears of: `critical`, `warning`, `digest`. Empty: of all.",
            examples=[["critical"]],
        ),
    ] = []
    clusters: Annotated[
        list[str],
        Meta(description="Of which clusters. Empty: all.", examples=[["shop"]]),
    ] = []
    quiet: Annotated[
        list[str],
        Meta(
            description="When it hears of nothing but what is critical: the rest waits.",
            examples=[["22:00-07:00", "sat-sun 00:00-24:00"]],
        ),
    ] = []


class AlertsConfig(Options, frozen=True, kw_only=True):
    """Who is told when something is wrong: `pgkeep alert test` tries it."""

    channels: tuple[ChannelConfig, ...] = ()
    remind_every: Annotated[
        Duration,
        Meta(description="How often what stays wrong is told again.", examples=["4h"]),
    ] = Duration(14400)
    digest: Annotated[
        str,
        Meta(
            description="When all clusters' state is told in one message, wrong or not; written "
            "as in [clusters.NAME.schedule]. `never`: not at all.",
            examples=["daily 08:00"],
        ),
    ] = "daily 08:00"
    ping: Annotated[
        Secret,
        Meta(
            description="An address outside that is fetched while all is well, and misses it when "
            "this host is gone.",
            examples=["https://hc.example.com/ping/1f2e"],
        ),
    ] = Secret("")
    ping_every: Annotated[
        Duration, Meta(description="How often it is fetched.", examples=["5min"])
    ] = Duration(300)
