"""Makes a file system slow. Run on its own: FOLDER CLOSED_S OPEN_S LIMIT_S.

It freezes and thaws in turn. Ended by a signal it thaws; after SIGKILL whoever heals must thaw.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878


def main() -> None:
    folder, closed_s, open_s, limit_s = sys.argv[1], *map(float, sys.argv[2:5])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    end = time.monotonic() + limit_s
    try:
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                fcntl.ioctl(descriptor, FIFREEZE, 0)
            time.sleep(closed_s)
            fcntl.ioctl(descriptor, FITHAW, 0)
            time.sleep(open_s)
    finally:
        with contextlib.suppress(OSError):
            fcntl.ioctl(descriptor, FITHAW, 0)


if __name__ == "__main__":
    main()
