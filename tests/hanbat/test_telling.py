"""A command whose terminal, or reader, is gone comes to its end with its own exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

SPEAKS = """
import sys
from hanbat.telling import tell
tell("before", err=True)
sys.stdin.readline()
for number in range(3):
    tell(f"word {number}", err=True)
    tell(f"result {number}")
sys.exit(4)
"""


def buffered() -> dict[str, str]:
    """As on a host: what was not written stays in the stream's buffer."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.mark.parametrize("opened", [os.pipe, os.openpty], ids=["pipe", "terminal"])
def test_a_stream_that_is_gone_ends_nothing(opened: Callable[[], tuple[int, int]]) -> None:
    """Planted: EPIPE or EIO ended it with 1, and what was left in the buffer made it 120."""
    hears, speaks = opened()
    with subprocess.Popen(
        [sys.executable, "-c", SPEAKS], stdin=subprocess.PIPE, stdout=speaks, stderr=speaks, env=buffered()
    ) as process:
        os.close(speaks)
        assert os.read(hears, 100).strip() == b"before"
        os.close(hears)
        process.communicate(b"go on\n", timeout=20)
    assert process.returncode == 4


def test_a_stream_that_was_never_there() -> None:
    words = ["sh", "-c", 'exec "$0" -c "$1" </dev/null >&- 2>&-', sys.executable, SPEAKS]
    assert subprocess.run(words, timeout=20).returncode == 4
