"""Cleans up after a drill that was killed: `python -m lab.drill.guard CLONE SITES EVIDENCE ours|theirs`.

The drill holds the other end of its standard input. When that closes without the word `done`, the drill
is gone: what it broke is healed, and the lab is taken down if the drill had brought it up. Everything
that SIGKILL leaves is therefore cleaned by a process that was not killed.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from hanbat.errors import HanbatError
from lab.drill import report
from lab.drill.evidence import Evidence
from lab.faults import heal_all
from lab.laboratory import Lab

END_S = 5.0
CLONE = Path(__file__).resolve().parents[2]


class Guard:
    """The drill's side: starts the guard, and dismisses it at the end."""

    def __init__(self, lab: Lab, evidence: Evidence, ours: bool) -> None:
        argv = [
            sys.executable,
            "-m",
            "lab.drill.guard",
            str(lab.clone),
            str(lab.sites_file),
            str(evidence.folder),
            "ours" if ours else "theirs",
        ]
        self._log = (evidence.folder / "logs" / "guard.log").open("ab")
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            cwd=CLONE,
            start_new_session=True,
        )

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The drill cleans up by itself: the guard is not needed any more."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the guard is gone; there is nothing to dismiss
            self._process.stdin.write(b"done\n")
            self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(END_S)
        self._log.close()


def clean(lab: Lab, evidence: Evidence, ours: bool) -> None:
    """Heals and takes down; then makes the report of what is there. Raises HanbatError."""
    evidence.plan.unlink(missing_ok=True)
    try:
        if ours:
            lab.down(lambda text: print(text, flush=True))
        else:
            heal_all(lab, lambda text: print(text, flush=True))
    finally:
        evidence.write_text("report.html", report.render(report.read(evidence)))


def main() -> None:
    """Waits for the end of standard input; exit status 0 when there was nothing to do or it is done."""
    clone, sites, folder, whose = sys.argv[1:]
    if sys.stdin.read().strip() == "done":
        return
    try:
        clean(Lab.of_clone(Path(clone), Path(sites)), Evidence(Path(folder)), whose == "ours")
    except HanbatError as error:
        sys.exit(f"[{error.code:03d}] {error}")


if __name__ == "__main__":
    main()
