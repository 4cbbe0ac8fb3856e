"""The reference shape renders to the golden files, byte for byte, and twice to the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from hanbat.rendering import tree, write

from ..replication.topologies import SECRETS, SHAPES

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
REFERENCE = SHAPES["reference"]
HOSTS = [host.name for host in REFERENCE.hosts]


def below(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): p.read_text(encoding="utf-8") for p in folder.rglob("*") if p.is_file()
    }


@pytest.mark.parametrize("name", HOSTS)
def test_the_reference_shape_is_golden(name: str, tmp_path: Path) -> None:
    write(tree(REFERENCE, REFERENCE.host(name), SECRETS), tmp_path / name)
    assert below(tmp_path / name) == below(GOLDEN / name), "if this is meant: python -m tests.golden.update"


def test_there_is_a_golden_folder_for_each_host_and_no_other() -> None:
    assert {path.name for path in GOLDEN.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(
        HOSTS
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_twice_gives_the_same_bytes(shape: str) -> None:
    topology = SHAPES[shape]
    for host in topology.hosts:
        assert tree(topology, host, SECRETS) == tree(topology, host, SECRETS)
