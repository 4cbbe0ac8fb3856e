"""Keeps the leader of etcd away from the active site: `python -m replication.dcs.steward CONFIG`.

Runs beside each etcd member, looks every two seconds, and moves only its own member's leadership.
"""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from replication.dcs import etcd_gateway as etcd
from replication.dcs.leader import DcsMember, Move, View, decide

PERIOD_S = 2.0
logger = logging.getLogger("dcs-steward")


@dataclass(frozen=True, slots=True)
class Config:
    """What the rendered file says: who I am, who the members are, at which site each db host is."""

    cluster: str
    me: str
    urls: dict[str, str]
    members: tuple[DcsMember, ...]
    sites: dict[str, str]


def load(path: Path) -> Config:
    """Raises OSError, yaml.YAMLError or KeyError for a file that the renderer did not write."""
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = data["members"]
    return Config(
        cluster=data["cluster"],
        me=data["me"],
        urls={row["name"]: row["url"] for row in rows},
        members=tuple(DcsMember(row["name"], row["site"], row["witness"], None) for row in rows),
        sites=data["sites"],
    )


def look(config: Config) -> View:
    """The view of the local member. Raises EtcdUnanswered when that one does not answer."""
    here = config.urls[config.me]
    mine, leading = etcd.leader_id(here)
    if leading != mine:
        return View(config.me, None, None, config.members)  # another one's affair
    primary = etcd.value_of(here, f"/service/{config.cluster}/leader")
    members = tuple(
        DcsMember(m.name, m.site, m.witness, etcd.is_healthy(config.urls[m.name])) for m in config.members
    )
    return View(config.me, config.me, config.sites.get(primary or ""), members)


def act(config: Config, move: Move) -> None:
    """Moves the leadership. Raises EtcdUnanswered."""
    here = config.urls[config.me]
    ids = etcd.member_ids(here)
    if move.target not in ids:
        raise etcd.EtcdUnanswered(f"{move.target} has not started as a member")
    etcd.move_leader(here, ids[move.target])


def step(config: Config, last_trouble: str) -> str:
    """One look and at most one move; returns the trouble met, empty when there was none."""
    try:
        move = decide(look(config))
        if move is not None:
            act(config, move)
            logger.info("moved the leadership of etcd to %s: %s", move.target, move.why)
    except etcd.EtcdUnanswered as error:
        trouble = str(error)
        if trouble != last_trouble:
            logger.warning("cannot tell or act: %s", trouble)
        return trouble
    if last_trouble:
        logger.info("the local member answers again")
    return ""


def main(argv: list[str]) -> int:
    """Runs until it is stopped."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    config = load(Path(argv[1]))
    trouble = ""
    while True:
        trouble = step(config, trouble)
        time.sleep(PERIOD_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
