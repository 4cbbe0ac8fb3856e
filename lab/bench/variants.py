"""What is compared: the same cluster, differing in a few lines of `sites.yml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Variant:
    """One contestant. `changes`: section of `sites.yml` -> key -> value, laid over the file."""

    name: str
    says: str
    changes: Mapping[str, Mapping[str, Any]]


# Patroni 4.1, dynamic configuration; PostgreSQL's own wal_sender_timeout. Patroni's retry_timeout is 10 s:
# with it loop_wait + 2 x retry_timeout equals ttl, which races failsafe mode (patroni #3678), and which our
# rules refuse.
DEFAULTS = {"ttl": "30s", "loop_wait": "10s", "retry_timeout": "9s", "wal_sender_timeout": "60s"}
VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(
            "patroni-default",
            "Patroni 4.1 with its default timings, synchronous mode on",
            {"failover": {"enabled": False}, "replication": DEFAULTS},
        ),
        Variant(
            "patroni-tuned",
            "Patroni 4.1 with the shortest timings that it accepts, synchronous mode on",
            {"failover": {"enabled": False}},
        ),
        Variant("hanbat", "the same with Hanbat's controllers and gatekeepers", {}),
    )
}


def laid_over(sites: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The content of `sites.yml` with the changes; neither argument is changed."""
    made = dict(sites)
    for section, values in changes.items():
        made[section] = {**made.get(section, {}), **values}
    return made


def write(variant: Variant, sites: Path, folder: Path) -> Path:
    """The variant's own sites file. Raises OSError or yaml.YAMLError."""
    content = yaml.safe_load(sites.read_text(encoding="utf-8"))
    target = folder / f"sites-{variant.name}.yml"
    target.write_text(
        yaml.safe_dump(laid_over(content, variant.changes), allow_unicode=True, sort_keys=False),
        encoding="utf-8",
    )
    return target
