"""WAN links with delay, bandwidth and loss: netem where the kernel has it, else vde's wirefilter."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from hanbat.topology import Wan
from lab import commands
from lab.cgroups import Cgroup
from lab.errors import LabError
from lab.plan import NetworkPlan, WanLink
from lab.processes import run_in

NETEM = "netem"
WIREFILTER = "wirefilter"
# Above this wirefilter is the narrow place itself (design, section 2), so it is not told a limit.
WIREFILTER_CEILING_MBIT = 700
# A network does not wait for a busy processor, nor does it drop what comes meanwhile. The filter goes before
# the switches that feed it.
SWITCH, FILTER = 10, 20
PROMPT, SUCCESS = b"VDEwf$ ", "1000 Success"
MANAGE_LIMIT_S = 5.0


def emulation() -> str:
    """Which emulation this kernel allows: tried in a namespace of its own, gone right after."""
    tried = commands.run(
        ["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"], check=False
    )
    return NETEM if tried.returncode == 0 else WIREFILTER


def at_once(priority: int) -> list[str]:
    """Words before a program that is to run as soon as it can; none where the kernel does not allow it."""
    words = ["chrt", "--fifo", str(priority)]
    return words if commands.run([*words, "true"], check=False).returncode == 0 else []


def netem_arguments(wan: Wan) -> list[str]:
    """Arguments of `tc qdisc ... netem` for one direction."""
    jitter = [f"{_us(wan.jitter)}us"] if wan.jitter else []
    words = ["delay", f"{_us(wan.delay)}us", *jitter, "rate", f"{wan.bandwidth_mbit}mbit", "limit", "100000"]
    return words + (["loss", f"{wan.loss_percent:g}%"] if wan.loss_percent else [])


def wirefilter_arguments(wan: Wan) -> list[str]:
    """Arguments of `wirefilter`: milliseconds one way, bytes a second, percent."""
    words = ["-d", _varied(wan)]
    if wan.bandwidth_mbit < WIREFILTER_CEILING_MBIT:
        words += ["-b", str(wan.bandwidth_mbit * 125_000)]
    return words + (["-l", f"{wan.loss_percent:g}"] if wan.loss_percent else [])


def _varied(wan: Wan) -> str:
    """wirefilter's way to write a delay in milliseconds that varies evenly."""
    delay_ms, jitter_ms = _us(wan.delay) / 1000, _us(wan.jitter) / 1000
    return f"{delay_ms:g}+{jitter_ms:g}U" if jitter_ms else f"{delay_ms:g}"


def _us(length: timedelta) -> int:
    return round(length.total_seconds() * 1_000_000)


def make(plan: NetworkPlan, wan: Wan, kind: str, group: Cgroup, run_folder: Path, logs: Path) -> None:
    """Make all WAN links. Raises LabError."""
    run_folder.mkdir(parents=True, exist_ok=True)
    for number, link in enumerate(plan.wan):
        if kind == NETEM:
            _netem_link(link, wan)
        else:
            _wirefilter_link(number, link, wan, group, run_folder, logs)


def _netem_link(link: WanLink, wan: Wan) -> None:
    (left, right), (left_device, right_device) = link.routers, link.devices
    commands.ip_batch(
        [f"link add {left_device} netns {left} type veth peer name {right_device} netns {right}"]
    )
    for router, device in zip(link.routers, link.devices, strict=True):
        commands.run(
            ["tc", "-n", router, "qdisc", "add", "dev", device, "root", "netem", *netem_arguments(wan)]
        )


def _wirefilter_link(
    number: int, link: WanLink, wan: Wan, group: Cgroup, run_folder: Path, logs: Path
) -> None:
    group.create()
    sockets: list[str] = []
    for side, (router, device) in enumerate(zip(link.routers, link.devices, strict=True)):
        socket = str(run_folder / f"w{number}{'ab'[side]}")
        sockets.append(socket)
        _daemon(
            [
                *at_once(SWITCH),
                "ip",
                "netns",
                "exec",
                router,
                "vde_switch",
                "-s",
                socket,
                "-tap",
                device,
                "-daemon",
            ],
            group,
            logs,
        )
    manage = str(run_folder / f"w{number}m")
    words = ["wirefilter", "-v", ":".join(sockets), *wirefilter_arguments(wan), "-M", manage, "-daemon"]
    _daemon([*at_once(FILTER), *words], group, logs)


def change(link: WanLink, number: int, wan: Wan, kind: str, run_folder: Path) -> None:
    """Give a link that works other delay, bandwidth and loss. Raises LabError."""
    if kind == NETEM:
        for router, device in zip(link.routers, link.devices, strict=True):
            words = ["tc", "-n", router, "qdisc", "change", "dev", device, "root", "netem"]
            commands.run([*words, *netem_arguments(wan)])
        return
    answers = _manage(run_folder / f"w{number}m", [f"{key} {value}" for key, value in _managed(wan).items()])
    if not all(SUCCESS in answer for answer in answers):
        raise LabError(f"the WAN link {'-'.join(link.sites)} did not take its values: {answers}")


def is_set(link: WanLink, number: int, wan: Wan, kind: str, run_folder: Path) -> bool:
    """Whether the emulation itself says that a link has this delay and loss."""
    if kind == NETEM:
        return all(
            _netem_has(commands.run(["tc", "-j", "-n", router, "qdisc", "show", "dev", device]).stdout, wan)
            for router, device in zip(link.routers, link.devices, strict=True)
        )
    lines = _manage(run_folder / f"w{number}m", ["showinfo"])[0].splitlines()
    return all(
        any(line.split() == [key.capitalize(), "L->R", value, "R->L", value] for line in lines)
        for key, value in (
            (key, word if "+" in word else f"{word}+0U") for key, word in _managed(wan).items()
        )
    )


def _netem_has(text: str, wan: Wan) -> bool:
    options = next((row["options"] for row in json.loads(text) if row.get("kind") == "netem"), {})
    delay_s = options.get("delay", {}).get("delay", 0.0)
    loss = options.get("loss-random", {}).get("loss", 0.0) * 100
    return abs(delay_s - wan.delay.total_seconds()) < 1e-4 and abs(loss - wan.loss_percent) < 0.01


def _managed(wan: Wan) -> dict[str, str]:
    """Commands of wirefilter's management socket, and their values."""
    return {"delay": _varied(wan), "loss": f"{wan.loss_percent:g}"}


def _manage(path: Path, lines: Sequence[str]) -> list[str]:
    """Give commands to a running wirefilter; its answers. Raises LabError."""

    def answer(connection: socket.socket) -> str:
        text = b""
        while not text.endswith(PROMPT):
            more = connection.recv(4096)
            if not more:
                break
            text += more
        return text.decode("utf-8", errors="replace")

    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(MANAGE_LIMIT_S)
            connection.connect(str(path))
            answer(connection)
            answers: list[str] = []
            for line in lines:
                connection.sendall(f"{line}\n".encode())
                answers.append(answer(connection))
            return answers
    except OSError as error:
        raise LabError(f"{path}: wirefilter does not answer: {error}") from error


def _daemon(argv: list[str], group: Cgroup, logs: Path) -> None:
    """Start a program that detaches itself when it is ready."""
    log = logs / "wan.log"
    if run_in(group, argv, log) != 0:
        raise LabError(
            f"{' '.join(argv)} failed\n{commands.tail(log.read_text(encoding='utf-8', errors='replace'))}"
        )
