"""What the launcher replaces in Patroni can be put in, all of it, in the launcher's order."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from replication import patroni_launcher

LAUNCH = """
import sys
import patroni.__main__
from pathlib import Path
from replication import patroni_launcher as launcher
from replication.mends import salvage_hook
from replication.salvage import settings as salvage_settings
from types import SimpleNamespace
patroni.__main__.main = lambda: print("started")
launcher.healthy_first = lambda hosts, **more: tuple(hosts)
salvage_settings.load = lambda *words: None
salvage_hook.install = lambda settings: SimpleNamespace(compare_what_is_left=lambda: None)
launcher._launch(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("mode", ["max_availability", "max_protection", "max_performance"])
def test_everything_is_put_in_one_after_the_other(tmp_path: Path, mode: str) -> None:
    """Planted: a function wrapped twice, and the first wrapper hid its parameters from the second."""
    config = tmp_path / "patroni.yml"
    config.write_text("{scope: hanbat, etcd3: {hosts: ['127.0.0.1:2379']}}")
    environment = {
        "HANBAT_PROTECTION_MODE": mode,
        "HANBAT_REMOTE_MEMBERS": "gg-db1",
        "HANBAT_DRAG_LIMIT_S": "0.5",
        "HANBAT_DRAG_TIME_S": "5",
    }
    command = [sys.executable, "-c", LAUNCH, str(config)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=60)
    assert done.stdout == "started\n", done.stderr


def test_what_is_marked_as_good_for_nothing_was_looked_at_by_the_salvage() -> None:
    """What is put in later wraps what was put in before, and so runs before it."""
    order = inspect.getsource(patroni_launcher._put_in)
    assert order.index("broken_clone.install(") < order.index("salvage_hook.install(")
