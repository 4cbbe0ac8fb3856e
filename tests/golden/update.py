"""Write the golden files anew: `python -m tests.golden.update`. Read the difference before committing it."""

from __future__ import annotations

import shutil
from pathlib import Path

from hanbat.rendering import tree, write
from tests.replication.topologies import SECRETS, SHAPES

GOLDEN = Path(__file__).resolve().parent


def main() -> None:
    """One folder for each host of the reference shape, with fixed secrets."""
    topology = SHAPES["reference"]
    for host in topology.hosts:
        shutil.rmtree(GOLDEN / host.name, ignore_errors=True)
        write(tree(topology, host, SECRETS), GOLDEN / host.name)
        for path in (GOLDEN / host.name).rglob("*"):
            if path.is_file():
                path.chmod(0o644)  # git keeps no other; the manifest has the modes


if __name__ == "__main__":
    main()
