"""The secrets of a cluster: one YAML file, mode 0600, never committed.

Every password and key is made here once, with `secrets.token_urlsafe`; rendering only reads it, so
the same file gives the same bytes.
"""

from __future__ import annotations

import os
import secrets as tokens
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from hanbat.errors import HanbatError


class SecretsInvalid(HanbatError):
    """The secrets file lacks a value, has an unknown one, or others may read it."""

    code = 52
    hint = (
        "correct it, or remove it and `hanbat render` makes a new one (a running cluster keeps the old ones)"
    )


Secret = Annotated[str, StringConstraints(pattern="^[!-~]+$")]


class Secrets(BaseModel):
    """Passwords of the PostgreSQL roles, and keys of the application: visible ASCII, no spaces.

    They must be random: a login is made cheap, so a password that can be guessed is cheap to guess (ADR 8).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    postgres_superuser: Secret
    postgres_replication: Secret
    postgres_rewind: Secret
    patroni_rest: Secret
    observer: Secret
    app_owner: Secret
    app_service: Secret
    app_session_key: Secret
    app_operator_key: Secret


def generate() -> Secrets:
    """New secrets: 256 random bits each, in letters that need no quoting in any rendered file."""
    return Secrets(**{name: tokens.token_hex(32) for name in Secrets.model_fields})


def load(path: Path) -> Secrets:
    """Raises SecretsInvalid."""
    if path.stat().st_mode & 0o077:
        raise SecretsInvalid(f"{path} can be read by others", hint=f"chmod 600 {path}")
    try:
        return Secrets.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        raise SecretsInvalid(f"{path} is no secrets file: {error}") from error


def load_or_create(path: Path) -> tuple[Secrets, bool]:
    """The secrets of a file, and whether it was made just now. Two at once make one file."""
    if path.exists():
        return load(path), False
    made = generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        yaml.safe_dump(made.model_dump(), stream, sort_keys=False)
    try:
        os.link(draft, path)  # fails when another process was first
    except FileExistsError:
        return load(path), False
    finally:
        draft.unlink()
    return made, True
