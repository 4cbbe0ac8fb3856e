"""Settings are written whole or not at all; in Patroni's own functions."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni.postgresql.config import ConfigHandler, ConfigWriter
from patroni.postgresql.misc import PostgresqlState

from replication.mends import whole_write
from replication.mends.whole_write import NAMES, config_writer, told

OLD, NEW = '"gg-db1"', '2 ("dj-db2","gg-db1")'


class Config(ConfigHandler):
    """Of a running server; its file holds the names alone."""

    def __init__(self, folder: Path, writer: Any) -> None:
        self.file = folder / "postgresql.conf"
        self.reloads: list[str] = []
        self._postgresql: Any = SimpleNamespace(state=PostgresqlState.RUNNING, reload=self._reload)
        self._server_parameters: Any = {}
        self._writer = writer

    def set_file_permissions(self, filename: str) -> None:
        Path(filename).chmod(0o600)

    def write_postgresql_conf(self, configuration: Any = None) -> None:
        with self._writer(self, str(self.file)) as file:
            for name, value in self._server_parameters.items():
                file.write_param(name, value)

    def _reload(self) -> None:
        self.reloads.append(self.file.read_text())


PATRONIS, OURS = ConfigHandler.config_writer, config_writer(ConfigHandler.config_writer)


@pytest.mark.parametrize(("writer", "seen"), [(PATRONIS, ""), (OURS, OLD)])
def test_who_reads_meanwhile_finds_the_old_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: Any, seen: str
) -> None:
    """Planted: Patroni's own file is empty while it is written."""
    config = Config(tmp_path, writer)
    config.set_synchronous_standby_names(OLD)
    read: list[str] = []
    write = ConfigWriter.write_param

    def reads(self: ConfigWriter, name: str, value: Any) -> None:
        read.append(config.file.read_text())
        write(self, name, value)

    monkeypatch.setattr(ConfigWriter, "write_param", reads)
    config.set_synchronous_standby_names(NEW)
    assert seen in read[0]
    assert bool(read[0]) is bool(seen)
    assert NEW in config.reloads[-1]
    assert config.file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["postgresql.conf"]


def no_room(*given: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("before", [OLD, None])
def test_names_that_could_not_be_written_are_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    config = Config(tmp_path, OURS)
    tells = told(ConfigHandler.set_synchronous_standby_names)
    tells(config, before)
    kept = config.file.read_text() if before else None
    with monkeypatch.context() as full:
        full.setattr(ConfigWriter, "write_param", no_room)
        with pytest.raises(OSError, match="No space"):
            tells(config, NEW)
    assert (config.file.read_text() if config.file.exists() else None) == kept
    assert not (tmp_path / f"postgresql.conf{whole_write.DRAFT}").exists()
    assert config._server_parameters.get(NAMES) == before
    tells(config, NEW)
    assert NEW in config.reloads[-1]


def test_patroni_alone_does_not_tell_them_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the hazard."""
    config = Config(tmp_path, PATRONIS)
    with monkeypatch.context() as full:
        full.setattr(ConfigWriter, "write_param", no_room)
        with pytest.raises(OSError, match="No space"):
            config.set_synchronous_standby_names(NEW)
    config.set_synchronous_standby_names(NEW)
    assert config.reloads == []


def test_it_is_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("config_writer", "set_synchronous_standby_names"):
        monkeypatch.setattr(ConfigHandler, name, getattr(ConfigHandler, name))  # put back afterwards
    before = ConfigHandler.config_writer
    whole_write.install()
    assert ConfigHandler.config_writer is not before
