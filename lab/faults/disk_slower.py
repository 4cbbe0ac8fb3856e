"""Makes file systems slow. Run on its own: CLOSED_S OPEN_S LIMIT_S FOLDER...

It freezes and thaws all of them in turn. Ended by a signal it thaws; after SIGKILL whoever heals must thaw.
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
    closed_s, open_s, limit_s = map(float, sys.argv[1:4])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    descriptors = [os.open(folder, os.O_RDONLY | os.O_DIRECTORY) for folder in sys.argv[4:]]
    end = time.monotonic() + limit_s
    try:
        while time.monotonic() < end:
            for descriptor in descriptors:
                with contextlib.suppress(OSError):
                    fcntl.ioctl(descriptor, FIFREEZE, 0)
            time.sleep(closed_s)
            for descriptor in descriptors:
                fcntl.ioctl(descriptor, FITHAW, 0)
            time.sleep(open_s)
    finally:
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                fcntl.ioctl(descriptor, FITHAW, 0)


if __name__ == "__main__":
    main()
