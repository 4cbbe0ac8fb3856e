"""Writing a tree: the same bytes twice, the manifest, and no file of anyone else's lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hanbat.rendering import MANIFEST, File, OutNotEmpty, write

FILES = (
    File("/etc/a.conf", "a\n"),
    File("/etc/b/secret", "s\n", mode=0o600, owner="postgres", group="postgres"),
)


def bytes_below(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_twice_gives_the_same_bytes_and_modes(tmp_path: Path) -> None:
    write(FILES, tmp_path / "out")
    first = bytes_below(tmp_path / "out")
    write(FILES, tmp_path / "out")
    assert bytes_below(tmp_path / "out") == first
    assert (tmp_path / "out/etc/b/secret").stat().st_mode & 0o777 == 0o600


def test_the_manifest_names_modes_and_owners(tmp_path: Path) -> None:
    write(FILES, tmp_path / "out")
    rows = json.loads((tmp_path / "out" / MANIFEST).read_text(encoding="utf-8"))["files"]
    assert rows[1] == {"path": "/etc/b/secret", "mode": "0600", "owner": "postgres", "group": "postgres"}


def test_a_file_that_is_no_longer_rendered_goes(tmp_path: Path) -> None:
    write(FILES, tmp_path / "out")
    write(FILES[:1], tmp_path / "out")
    assert set(bytes_below(tmp_path / "out")) == {"etc/a.conf", MANIFEST}


def test_a_folder_of_someone_elses_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutNotEmpty):
        write(FILES, tmp_path)
    assert bytes_below(tmp_path) == {"mine.txt": b"mine"}
