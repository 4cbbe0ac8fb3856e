"""Reads etcd again and again on behalf of a person, so that the ages of what is seen are known."""

from __future__ import annotations

import time
from pathlib import Path

import yaml

from failover import config as configuration
from failover.assembly import Assembly
from failover.config import Config
from failover.etcd_dcs import EtcdDcs, NotAnswered
from failover.etcd_json import Entry, EtcdAnswerWrong
from failover.handover import poolers_of
from failover.observer import PULSE_PERIOD_S, monotonic_ms
from failover.publication import Pulse
from failover.status import Overview, overview
from failover.view import View
from hanbat.errors import Exit, HanbatError

LOOK_S = 0.8  # an observer whose pulse does not change for so long is shown as silent


class NoControllerHere(HanbatError):
    """There is no readable configuration of a controller on this machine."""

    code = 160
    hint = "run it as root on a db or etcd host, there as /opt/hanbat/bin/hanbat"
    exit_status = Exit.NOT_READY


def read_config(path: Path) -> Config:
    """Raises NoControllerHere."""
    try:
        return configuration.load(path)
    except (OSError, yaml.YAMLError, KeyError, ValueError) as error:
        raise NoControllerHere(f"{path}: {error}") from error


class Looker:
    """One reader, for one thread. `found`: all keys as they were last read."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._dcs: EtcdDcs = config.dcs()
        self._assembly = Assembly(config.me, config.policy, config.hosts)
        self.found: dict[str, Entry] = {}

    def view(self) -> View:
        """What a controller would see now."""
        began = monotonic_ms()
        try:
            self.found = self._dcs.snapshot()
            return self._assembly.view(self.found, began, monotonic_ms())
        except (NotAnswered, EtcdAnswerWrong) as error:
            return self._assembly.unseen(str(error), monotonic_ms())

    def last_pulses(self) -> dict[str, Pulse]:
        """The last word of each observer ever heard here."""
        return self._assembly.last_pulses()

    def look(self) -> Overview:
        view = self.view()
        words = poolers_of(self.found, self._config.poolers)
        return overview(view, self.last_pulses(), self._config.cluster, words, self._config.member_sites)

    def look_twice(self) -> Overview:
        """The first look only notes the sequence numbers; what has moved by the next is alive."""
        end = monotonic_ms() + int(LOOK_S * 1000)
        found = self.look()
        while monotonic_ms() < end:
            time.sleep(PULSE_PERIOD_S / 2)
            found = self.look()
            if not found.trouble and not any(one["state"] == "silent" for one in found.observers):
                break
        return found
