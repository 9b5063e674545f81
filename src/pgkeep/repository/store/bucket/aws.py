"""AWS's own files of credentials: profiles with keys, tokens or a program that gives them.

https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
"""

import configparser
import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pgkeep import config_file
from pgkeep.repository.store.bucket.private import BadCredentials, read_private

_SECONDS: Final = 60.0  # for a credential_process
_KEYS: Final = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
_IDENTITY: Final = {
    "role_arn": "role_arn",
    "web_identity_token_file": "web_identity_token_file",
    "role_session_name": "role_session_name",
}
# What AWS's own programs can do with a profile and pgkeep leaves to them.
_THEIRS: Final = ("sso_session", "sso_start_url", "source_profile", "credential_source")


class Places(NamedTuple):
    """Which files say which profile; none when the environment has the keys."""

    files: tuple[str, ...]
    profile: str
    own: bool  # a file that pgkeep's config names: it must be there, and nobody else's to read


class Found(NamedTuple):
    """Settings for obstore, and until when they are good (seconds since 1970)."""

    settings: dict[str, str]
    expires: float | None = None


def places(credentials_file: str, profile: str) -> Places:
    """Return where to look: the file that was named, else AWS's own unless the keys are set."""
    environment = config_file.environment()
    wanted = profile or environment.get("AWS_PROFILE", "")
    if credentials_file:
        return Places((credentials_file,), profile or "default", own=True)
    if not wanted and environment.get("AWS_ACCESS_KEY_ID"):
        return Places((), "", own=False)
    files = (
        environment.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        environment.get("AWS_CONFIG_FILE", "~/.aws/config"),
    )
    return Places(tuple(map(os.path.expanduser, files)), wanted, own=False)


def find(places: Places) -> Found:
    """Return the profile's credentials; none if no profile was asked for and there is no default.

    Raise BadCredentials.
    """
    profile = places.profile or "default"
    merged: dict[str, str] = {}
    for file in reversed(places.files):  # what the credentials file says goes first
        merged.update(_section(_read(file, own=places.own), profile))
    if not merged:
        if not places.profile:
            return Found({})
        looked = " and ".join(places.files)
        raise BadCredentials(f"there is no profile {profile} in {looked}", "name one that is there")
    return _credentials(
        merged, profile, where=" and ".join(places.files), default=not places.profile
    )


def _credentials(section: Mapping[str, str], profile: str, where: str, *, default: bool) -> Found:
    settings = {ours: section[name] for name, ours in _KEYS.items() if section.get(name)}
    if "access_key_id" in settings:
        if "secret_access_key" not in settings:
            raise BadCredentials(f"profile {profile} in {where} has a key and no secret")
        return Found(settings)
    if section.get("credential_process"):
        return _from_program(section["credential_process"], profile)
    if section.get("web_identity_token_file"):
        return Found({ours: section[name] for name, ours in _IDENTITY.items() if name in section})
    if default:
        return Found({})  # as good as not there: a region, or how output is to look
    theirs = next((name for name in _THEIRS if name in section), "")
    if theirs:
        why = f"profile {profile} in {where} uses {theirs}, which pgkeep does not know"
        advice = f"aws configure export-credentials --profile {profile} --format process"
        raise BadCredentials(why, f"make a profile with credential_process = {advice}")
    raise BadCredentials(f"profile {profile} in {where} has no aws_access_key_id")


def _read(file: str, *, own: bool) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, default_section="\0")
    try:
        parser.read_string(read_private(file, own=own))
    except FileNotFoundError:
        return parser
    except configparser.Error:
        # The parser's own words would repeat the line, and the line may be a secret.
        why = f"{file} is no file of AWS profiles"
        raise BadCredentials(why, "write [default] and below it aws_access_key_id = ...") from None
    return parser


def _section(parser: configparser.RawConfigParser, profile: str) -> dict[str, str]:
    """Return a profile's lines: the config file writes [profile NAME], the other one [NAME]."""
    for name in (profile, f"profile {profile}"):
        if parser.has_section(name):
            return dict(parser.items(name))
    return {}


def _from_program(command: str, profile: str) -> Found:
    what = f"the credential_process of profile {profile}"
    try:
        done = subprocess.run(
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BadCredentials(f"{what} gave no answer within {_SECONDS:g} seconds") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its quotes do not match"
        raise BadCredentials(f"{what} cannot be run: {reason}") from None
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:200]
        raise BadCredentials(
            f"{what} ended with status {done.returncode}" + (f": {last}" if last else "")
        )
    try:
        return _of_program(json.loads(done.stdout))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadCredentials(f"{what} printed something else than credentials") from None


def _of_program(said: dict[str, Any]) -> Found:
    """https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html"""
    from datetime import datetime

    settings = {
        "access_key_id": str(said["AccessKeyId"]),
        "secret_access_key": str(said["SecretAccessKey"]),
    }
    if said.get("SessionToken"):
        settings["session_token"] = str(said["SessionToken"])
    expires = said.get("Expiration")
    return Found(settings, datetime.fromisoformat(expires).timestamp() if expires else None)
