"""The wall clock of a host's programs jumps, as after a wrong time from a time server.

Processes of one kernel share one clock, so the programs of the host get a small library preloaded
(`clock_shift.c`) that adds to the wall clock what stands in a file. They are started again with it
first, at the right time; the jump then happens at one instant in running programs, and so does the
jump back. Shifted are Hanbat's own Python programs: Patroni, observer and controller, the LSN ring, the
application. PostgreSQL keeps running and keeps its clock, unless the target asks for it (`+postgres`)
or Patroni starts it while the fault acts. etcd, HAProxy and PgBouncer are never shifted.
"""

from __future__ import annotations

import contextlib
import http.client
import struct
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

from lab import commands, sockets
from lab.errors import BadTarget, FaultNotHealed, LabError
from lab.faults import processes
from lab.faults.base import HEAL_LIMIT_S, Fault, wait
from lab.machine import Machine

SHIFT_S, SEEN_S = 300, 240
WITH_POSTGRES = "+postgres"
FOLDER = "/run/hanbat-clock"
LIBRARY, OFFSET, DROP_IN = f"{FOLDER}/clock.so", f"{FOLDER}/offset", "hanbat-clock.conf"
DROP_IN_TEXT = f"[Service]\nEnvironment=LD_PRELOAD={LIBRARY} HANBAT_CLOCK={OFFSET}\n"
SOURCE = Path(__file__).with_name("clock_shift.c")
PATRONI_UNIT, PATRONI_PORT = "hanbat-patroni", 8008
CLOCK_PORTS = (PATRONI_PORT, 8010, 8000)  # Patroni, the LSN ring, the application: all say the date
RESTART = "patronictl -c /etc/hanbat/patronictl.yml restart --force"
NOW = "select extract(epoch from clock_timestamp())::bigint"


def units_of(found: list[processes.Process]) -> dict[str, set[int]]:
    """Hanbat's units whose program is Python, and their processes."""
    units: dict[str, set[int]] = {}
    for each in found:
        if each.unit.startswith("hanbat-") and each.program.startswith("python"):
            units.setdefault(each.unit, set()).add(each.pid)
    return units


class Clock(Fault):
    """The wall clock of a host's Python programs is five minutes ahead; on request PostgreSQL's too."""

    name = "clock"

    def check(self) -> None:
        self.host = self.target.removesuffix(WITH_POSTGRES)
        self.postgres = self.target.endswith(WITH_POSTGRES)
        if self.host not in self.lab.machines:
            raise BadTarget(f"{self.name} takes HOST or HOST{WITH_POSTGRES}, not {self.target}")

    @property
    def machine(self) -> Machine:
        return self.lab.machine(self.host)

    @property
    def _inside(self) -> Path:
        """The machine's own root, as it sees it itself."""
        return Path(f"/proc/{self.machine.leader()}/root")

    def _found(self) -> list[processes.Process]:
        rows = (processes.read(pid) for pid in self.machine.group.processes())
        return [each for each in rows if each]

    def inject(self) -> None:
        self.lab.require_up()
        if self._others():
            raise BadTarget(f"the clock of {self.host} is shifted already", hint="heal that first")
        units = units_of(self._found())
        if not units:
            raise BadTarget(f"no Python program of Hanbat runs on {self.host}")
        if self.postgres and self._patroni_role() not in ("replica", "standby", "sync_standby"):
            raise BadTarget(f"PostgreSQL is started again only on a standby, and {self.host} is none")
        with self.lab.faults.change():
            self._enter_journal(units=sorted(units))
            self._lay(units)
        missing = [unit for unit, pids in units_of(self._found()).items() if not all(map(preloaded, pids))]
        if missing:
            self._start_again(missing, shifted=True)
        if self.postgres and not self._postgres_preloaded():
            self._restart_postgres()
        self._set(SHIFT_S)
        wait(self.active, f"{self.name} {self.target}: its programs tell the shifted time", HEAL_LIMIT_S)

    def _others(self) -> list[str]:
        """Targets of other clock faults on this host."""
        targets = [row.target for row in self.lab.faults.read() if row.name == self.name]
        return [
            each for each in targets if each != self.target and each.removesuffix(WITH_POSTGRES) == self.host
        ]

    def _lay(self, units: dict[str, set[int]]) -> None:
        """The library, the offset and the drop-ins, into the machine's /run: a power cut forgets them."""
        built = self.lab.state / "clock.so"
        commands.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(built), str(SOURCE), "-ldl"])
        folder = self._inside / FOLDER.lstrip("/")
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        library = self._inside / LIBRARY.lstrip("/")
        if not library.exists():
            library.write_bytes(built.read_bytes())
            library.chmod(0o755)
            self._set(0)
        for unit in units:
            drop_in = self._drop_ins() / f"{unit}.service.d" / DROP_IN
            drop_in.parent.mkdir(exist_ok=True)
            drop_in.write_text(DROP_IN_TEXT, encoding="utf-8")
        self._systemctl("daemon-reload")

    def _drop_ins(self) -> Path:
        return self._inside / "run/systemd/system"

    def _set(self, seconds: int) -> None:
        """Written in place: running programs have mapped the file."""
        file = self._inside / OFFSET.lstrip("/")
        with file.open("r+b" if file.exists() else "wb") as stream:
            stream.write(struct.pack("q", seconds * 1_000_000_000))
        file.chmod(0o644)

    def _systemctl(self, *words: str) -> None:
        done = self.lab.run(self.host, ["systemctl", *words], timeout_s=HEAL_LIMIT_S)
        if done.returncode != 0:
            raise LabError(f"{self.host}: systemctl {' '.join(words)}: {done.stderr.strip()}")

    def _start_again(self, units: list[str], *, shifted: bool) -> None:
        """Start programs again with the library or without it. PostgreSQL runs on."""
        before = {unit: pids for unit, pids in units_of(self._found()).items() if unit in units}
        for unit in units:
            if unit == PATRONI_UNIT:  # a Patroni that is asked to stop would stop PostgreSQL too
                self._systemctl("kill", "--signal=SIGKILL", "--kill-whom=main", unit)
            else:
                self._systemctl("restart", unit)

        def back() -> bool:
            now = units_of(self._found())
            return all(
                now.get(unit)
                and not now[unit] & before.get(unit, set())
                and all(preloaded(pid) is shifted for pid in now[unit])
                for unit in units
            )

        words = "with" if shifted else "without"
        wait(back, f"{self.host}: {', '.join(units)} {words} the library", HEAL_LIMIT_S, FaultNotHealed)
        if PATRONI_UNIT in units:
            wait(lambda: self._http_time(PATRONI_PORT) is not None, f"{self.host}: Patroni", HEAL_LIMIT_S)

    def _patroni_role(self) -> str:
        script = f"curl -s -m 3 http://{self._address}:{PATRONI_PORT}/patroni | python3 -c "
        reader = "'import json,sys; print(json.load(sys.stdin).get(\"role\"))'"
        return self.lab.run(self.host, ["sh", "-c", script + reader], timeout_s=5).stdout.strip()

    @property
    def _address(self) -> str:
        return str(self.lab.topology.host(self.host).address)

    def _restart_postgres(self) -> None:
        words = [*RESTART.split(), self.lab.topology.cluster, self.host]
        done = self.lab.run(self.host, words, timeout_s=HEAL_LIMIT_S)
        if done.returncode != 0:
            raise LabError(f"{self.host}: {' '.join(words)}: {done.stdout}{done.stderr}")

    def _postgres_preloaded(self) -> bool:
        found = processes.chosen(self._found(), processes.POSTGRES)
        return bool(found) and all(preloaded(each.pid) for each in found if each.program == "postgres")

    def _http_time(self, port: int) -> float | None:
        """The wall clock of the program at a port, by the `Date` of its answer; None: no answer."""
        connection = http.client.HTTPConnection(self._address, port, timeout=2)
        try:
            connection.sock = sockets.connect(self.machine.namespace, self._address, port, timeout_s=2)
            connection.request("GET", "/", headers={"Connection": "close"})
            said = connection.getresponse().getheader("Date")
            return parsedate_to_datetime(said).timestamp() if said else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    def _sql_time(self) -> float | None:
        done = self.lab.run(self.host, ["psql", "-XAtc", NOW, "postgres"], timeout_s=5, user="postgres")
        return float(done.stdout) if done.returncode == 0 else None

    def active(self) -> bool:
        """All that was hit has the library, a new program is shifted, and whoever tells a date is ahead."""
        row = self.journaled()
        if row is None or not self.machine.running():
            return False
        now = units_of(self._found())
        if not all(now.get(unit) and all(map(preloaded, now[unit])) for unit in row.facts["units"]):
            return False
        words = ["env", f"LD_PRELOAD={LIBRARY}", f"HANBAT_CLOCK={OFFSET}", "date", "+%s"]
        told = [float(self.lab.run(self.host, words, timeout_s=5).stdout or 0)]
        told += [said for port in CLOCK_PORTS if (said := self._http_time(port)) is not None]
        if self.postgres:
            told.append(self._sql_time() or 0.0)
        return all(said - time.time() >= SEEN_S for said in told)

    def heal(self) -> None:
        """The clock jumps back at once; then the programs are started again without the library.

        A PostgreSQL that was started with the library keeps it, with nothing added to its clock.
        """
        row = self.journaled()
        if row is None:
            return
        if self.machine.running():
            with self.lab.faults.change():
                if (self._inside / OFFSET.lstrip("/")).exists():
                    self._set(0)
                for drop_in in self._drop_ins().glob(f"*.service.d/{DROP_IN}"):
                    drop_in.unlink()
                    with contextlib.suppress(OSError):  # another drop-in is there
                        drop_in.parent.rmdir()
                self._systemctl("daemon-reload")
            left = [unit for unit, pids in units_of(self._found()).items() if any(map(preloaded, pids))]
            if left:
                self._start_again(left, shifted=False)
        with self.lab.faults.change():
            self.lab.faults.drop(self.key)

    def describe(self) -> str:
        row = self.journaled()
        units = ", ".join(row.facts["units"]) if row else "Hanbat's Python programs"
        postgres = "PostgreSQL too" if self.postgres else "PostgreSQL only if it is started meanwhile"
        return f"{self.host}: the wall clock of {units} is {SHIFT_S} s ahead ({postgres}; never etcd)"


def preloaded(pid: int) -> bool:
    """Whether a process has the library."""
    try:
        return LIBRARY in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
