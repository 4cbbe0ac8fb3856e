"""Cuts a link again and again. Run on its own: ROUTER TABLE CUT_S PERIOD_S LIMIT_S DEVICE...

Every cut is an element of an nftables set that the kernel itself removes after its time. So this
program can die at any moment and leaves the link open.
"""

from __future__ import annotations

import subprocess
import sys
import time


def main() -> None:
    router, table, cut_s, period_s, limit_s = sys.argv[1:6]
    elements = ", ".join(f'"{device}" timeout {round(float(cut_s) * 1000)}ms' for device in sys.argv[6:])
    argv = ["ip", "netns", "exec", router, "nft", f"add element inet {table} cut {{ {elements} }}"]
    begun = time.monotonic()
    turn = 0
    while time.monotonic() < begun + float(limit_s):
        subprocess.run(argv, check=True, timeout=10)
        turn += 1
        time.sleep(max(0.0, begun + turn * float(period_s) - time.monotonic()))


if __name__ == "__main__":
    main()
