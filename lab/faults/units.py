"""A whole unit of a machine is killed."""

from __future__ import annotations

from lab.errors import BadTarget, FaultNotHealed
from lab.faults.base import HEAL_LIMIT_S, PROOF_S, Fault, wait


class Kill(Fault):
    """SIGKILL to every process of a unit. systemd may start it again: that is part of the test."""

    name = "kill"

    def check(self) -> None:
        host, sign, unit = self.target.partition(":")
        if not sign or not unit or host not in self.lab.machines:
            raise BadTarget(f"{self.name} takes HOST:UNIT, not {self.target}")

    @property
    def host(self) -> str:
        return self.target.partition(":")[0]

    @property
    def unit(self) -> str:
        name = self.target.partition(":")[2]
        return name if "." in name else f"{name}.service"

    def _main(self) -> tuple[int, str]:
        """The unit's main process inside the machine (0: none), and its start, which tells pids apart."""
        words = self._systemctl(
            "show", "--property=MainPID,ExecMainStartTimestampMonotonic", "--value"
        ).split()
        return int(words[0]), words[1] if len(words) > 1 else ""

    def _systemctl(self, verb: str, *options: str) -> str:
        done = self.lab.run(self.host, ["systemctl", verb, *options, self.unit], timeout_s=10)
        if done.returncode != 0:
            raise BadTarget(f"{self.host}: systemctl {verb} {self.unit}: {done.stderr.strip()}")
        return done.stdout

    def inject(self) -> None:
        self.lab.require_up()
        if self.active():
            return
        pid, started = self._main()
        if pid == 0:
            raise BadTarget(f"{self.host}: {self.unit} does not run, so there is nothing to kill")
        with self.lab.faults.change():
            self._enter_journal(pid=pid, started=started)
        self._systemctl("kill", "--signal=SIGKILL", "--kill-whom=all")
        wait(
            lambda: self._main() != (pid, started),
            f"kill {self.target}: its process {pid} is gone",
            PROOF_S,
        )

    def active(self) -> bool:
        """The process that was killed is gone, and the unit was not healed since."""
        row = self.journaled()
        return row is not None and self._main() != (row.facts.get("pid"), row.facts.get("started"))

    def heal(self) -> None:
        """Start the unit if systemd has not yet; returns when it runs."""
        if self.journaled() is None:
            return
        self._systemctl("start")
        wait(lambda: self._main()[0] != 0, f"heal {self.target}: it runs again", HEAL_LIMIT_S, FaultNotHealed)
        with self.lab.faults.change():
            self.lab.faults.drop(self.key)

    def describe(self) -> str:
        return f"every process of {self.unit} on {self.host} was killed"
