"""Keeps a file system full. Run on its own: FILE LIMIT_S. The file stays; whoever heals removes it."""

from __future__ import annotations

import os
import sys
import time

LARGEST, PAUSE_S = 1 << 30, 0.1


def fill(descriptor: int) -> None:
    """Grow a file until its file system has no block left."""
    step, least = LARGEST, os.fstatvfs(descriptor).f_frsize
    while step >= least:
        try:
            os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, step)
        except OSError:
            step //= 2


def main() -> None:
    end = time.monotonic() + float(sys.argv[2])
    descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o600)
    while time.monotonic() < end:
        if os.fstatvfs(descriptor).f_bavail:
            fill(descriptor)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
