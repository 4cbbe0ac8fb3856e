"""What the lab keeps and finds again: record, lock, journal of faults, control groups, mounts, images."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hanbat.rendering import File
from lab import cgroups, image, leftovers, lifecycle, mounts, record
from lab.errors import ImageFailed, LabBusy, UnreadableState
from lab.identity import Names
from lab.machine import lay
from lab.record import FaultJournal, Injected, Record


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Names:
    monkeypatch.setattr(record, "RUN_ROOT", tmp_path / "run")
    monkeypatch.setattr("lab.identity.RUN_ROOT", tmp_path / "run")
    return Names("ffffff", tmp_path / "labs")


def test_record_is_read_as_it_was_written(names: Names) -> None:
    assert record.read(names) is None
    written = Record("ffffff", "/clone", "/clone/sites.yml", "boot", seconds={"boot": 1.5})
    written.write(names)
    assert record.read(names) == written


@pytest.mark.parametrize("text", ["", "{", '{"identity": "ffffff", "colour": 1}'])
def test_a_damaged_record_is_no_empty_one(names: Names, text: str) -> None:
    names.record.parent.mkdir(parents=True)
    names.record.write_text(text, encoding="utf-8")
    with pytest.raises(UnreadableState):
        record.read(names)


def test_one_at_a_time(names: Names) -> None:
    with record.locked(names), pytest.raises(LabBusy), record.locked(names):
        pass
    assert not names.lock.exists()
    with record.locked(names):
        assert names.lock.exists()


def test_faults_are_shared_through_the_journal(names: Names) -> None:
    names.state.mkdir(parents=True)
    FaultJournal(names).add(Injected("freeze", "gg1", 1.0))
    FaultJournal(names).add(Injected("kill", "gg1:ssh", 2.0, {"pid": 7}))
    FaultJournal(names).add(Injected("freeze", "gg1", 3.0))
    assert [(row.key, row.at) for row in FaultJournal(names).read()] == [
        (("freeze", "gg1"), 1.0),
        (("kill", "gg1:ssh"), 2.0),
    ]
    FaultJournal(names).drop(("freeze", "gg1"))
    FaultJournal(names).drop(("freeze", "gg1"))
    assert FaultJournal(names).find(("freeze", "gg1")) is None
    found = FaultJournal(names).find(("kill", "gg1:ssh"))
    assert found is not None
    assert found.facts == {"pid": 7}


HYBRID = """\
cgroup /sys/fs/cgroup/freezer cgroup rw,relatime,freezer 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (HYBRID, (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd"), None)),
        ("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", (Path("/sys/fs/cgroup"), None, None)),
        (
            "".join(HYBRID.splitlines(keepends=True)[:2]),
            (None, Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/freezer")),
        ),
    ],
)
def test_hierarchies_of_both_versions(text: str, found: tuple[Path | None, ...]) -> None:
    got = cgroups.parse_mounts(text)
    assert (got.unified, got.named, got.freezer) == found


def test_mounts_are_read_with_their_escapes_and_layers() -> None:
    row = mounts.parse("overlay /a\\040b overlay rw,lowerdir=/x/tree:/y/tree,upperdir=/u 0 0\n")[0]
    assert row.point == Path("/a b")
    assert row.lower() == (Path("/x/tree"), Path("/y/tree"))


def test_an_orphan_is_a_lab_whose_clone_is_gone(
    names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Names("eeeeee", names.states)
    monkeypatch.setattr(leftovers, "identities", lambda _: {"ffffff", "eeeeee"})
    Record("ffffff", str(tmp_path / "gone"), "", "boot").write(names)
    Record("eeeeee", str(tmp_path), "", "boot").write(other)
    assert lifecycle.orphans(names.states) == [names]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: systemd-nspawn's own folders are root's")
def test_leftovers_are_found_by_the_identity_alone(names: Names) -> None:
    assert not leftovers.find(names).any()
    names.state.mkdir(parents=True)
    found = leftovers.find(names)
    assert found.any()
    assert str(names.state) in found.text()


def _clone(folder: Path) -> Path:
    (folder / "hanbat").mkdir(parents=True)
    (folder / "hanbat/a.py").write_text("1", encoding="utf-8")
    (folder / "pyproject.toml").write_text("", encoding="utf-8")
    return folder


def test_project_key_follows_the_sources_only(tmp_path: Path) -> None:
    one, two = _clone(tmp_path / "one"), _clone(tmp_path / "two")
    assert image.project_key(one) == image.project_key(two)
    (two / "README.md").write_text("new", encoding="utf-8")
    (two / "hanbat/__pycache__").mkdir()
    (two / "hanbat/__pycache__/a.pyc").write_bytes(b"x")
    assert image.project_key(one) == image.project_key(two)
    (two / "hanbat/a.py").write_text("2", encoding="utf-8")
    assert image.project_key(one) != image.project_key(two)


def test_base_key_follows_the_pins() -> None:
    assert image.base_key("a==1") == image.base_key("a==1")
    assert image.base_key("a==1") != image.base_key("a==2")


def test_the_newest_layers_are_kept_and_those_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        (tmp_path / f"project-{number}/tree").mkdir(parents=True)
        os.utime(tmp_path / f"project-{number}", (number, number))
    monkeypatch.setattr(mounts, "lower_layers", lambda: {tmp_path / "project-0/tree"})
    image.prune(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "project-0",
        "project-3",
        "project-4",
        "project-5",
    ]


def test_a_build_that_was_interrupted_leaves_nothing_for_the_next(tmp_path: Path) -> None:
    (tmp_path / ".building-base-1/tree").mkdir(parents=True)
    with image.locked(tmp_path, lambda _: None):
        image.clean_if_idle(tmp_path)  # another build holds the lock: hands off
        assert (tmp_path / ".building-base-1").exists()
        with pytest.raises(ImageFailed), image.locked(tmp_path, lambda _: None, limit_s=0):
            pass
    image.clean_if_idle(tmp_path)
    assert not (tmp_path / ".building-base-1").exists()


def test_lay_writes_modes_and_owners_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    me, mine = os.getuid(), os.getgid()
    (tmp_path / "etc/passwd").write_text(f"postgres:x:{me}:{mine}::/:\n", encoding="utf-8")
    (tmp_path / "etc/group").write_text(f"postgres:x:{mine}:\n", encoding="utf-8")
    lay([File("/etc/hanbat/a.yml", "secret", 0o600, "postgres", "postgres")], tmp_path)
    target = tmp_path / "etc/hanbat/a.yml"
    assert target.read_text(encoding="utf-8") == "secret"
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_wait_for_the_lock_ends(names: Names) -> None:
    with record.locked(names):
        started = time.monotonic()
        with pytest.raises(LabBusy), record.locked(names, limit_s=0.3):
            pass
        assert time.monotonic() - started < 5
