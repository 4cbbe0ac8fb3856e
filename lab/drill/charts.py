"""The charts of the report. Each is a pure function from plain values to one SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.drill.rto import Reign
from lab.drill.series import Lag, Second
from lab.drill.svg import LogScale, Scale, both, figure, tag, text, ticks

WIDTH = 1080.0
LEFT = 118.0
RIGHT = 18.0
OUTAGE_LABEL = 150.0  # width of the name of the outage band


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment on the time axis."""

    at: float
    ko: str
    en: str
    kind: str  # a CSS class: fault, back, plain


@dataclass(frozen=True, slots=True)
class Axis:
    """The time axis that all charts of a run share, in seconds from the fault; the outage is shaded."""

    first: float
    last: float
    outage: tuple[float, float] | None
    marks: tuple[Mark, ...] = ()

    @property
    def scale(self) -> Scale:
        return Scale(self.first, self.last, LEFT, WIDTH - RIGHT)


def _shade(axis: Axis, top: float, bottom: float) -> str:
    if axis.outage is None:
        return ""
    start, end = (axis.scale(moment) for moment in axis.outage)
    return tag("rect", class_="outage", x=start, y=top, width=round(end - start, 2), height=bottom - top)


def _rules(axis: Axis, top: float, bottom: float) -> str:
    return "".join(
        tag(
            "line",
            class_=f"mark {mark.kind}",
            x1=axis.scale(mark.at),
            x2=axis.scale(mark.at),
            y1=top,
            y2=bottom,
        )
        for mark in axis.marks
    )


def _seconds_axis(axis: Axis, y: float, *, labels: bool = True) -> str:
    parts = []
    for tick in ticks(axis.first, axis.last, 12):
        x = axis.scale(tick)
        parts.append(tag("line", class_="tick", x1=x, x2=x, y1=y, y2=y + 4))
        if labels:
            parts.append(
                text(x, y + 18, f"{tick:+g} s" if tick else "0", class_="axis", text_anchor="middle")
            )
    return "".join([tag("line", class_="base", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y), *parts])


def mark_labels(axis: Axis) -> str:
    """The names of the moments in rows that do not overlap, each with its line down to the charts."""
    row_height, rows_end = 19.0, [float("-inf")] * 4
    height = row_height * len(rows_end) + 26
    parts = []
    if axis.outage is not None:
        start, end = axis.outage
        left, right = axis.scale(start), axis.scale(end)
        words = both(f"중단 {end - start:.1f}초", f"outage {end - start:.1f} s")
        parts.append(_shade(axis, height - 22, height))
        # A short outage is a band narrower than its own name: then the name stands to its right.
        x, anchor = ((left + right) / 2, "middle") if right - left > OUTAGE_LABEL else (right + 6, "start")
        parts.append(tag("text", words, class_="outage-label", x=x, y=height - 6, text_anchor=anchor))
    for mark in sorted(axis.marks, key=lambda mark: mark.at):
        x = axis.scale(mark.at)
        width = 13.0 * len(mark.ko) + 6.3 * len(mark.en) + 20
        flip = x + width > WIDTH - RIGHT
        left = x - width if flip else x
        row = next((number for number, end in enumerate(rows_end) if end < left), len(rows_end) - 1)
        rows_end[row] = x if flip else x + width
        y = 13 + row * row_height
        parts.append(tag("line", class_=f"mark {mark.kind}", x1=x, x2=x, y1=y - 10, y2=height))
        anchor = {"text_anchor": "end"} if flip else {}
        parts.append(
            tag(
                "text",
                both(mark.ko, mark.en),
                class_=f"mark-label {mark.kind}",
                x=x - 5 if flip else x + 5,
                y=y,
                **anchor,
            )
        )
    return figure(WIDTH, height, "moments of the drill", parts)


def lanes(axis: Axis, reigns: Sequence[Reign], hosts: Sequence[tuple[str, str]]) -> str:
    """One lane a database host: primary, standby, not reachable. `hosts` are (host, site title), in order."""
    lane, gap, top = 24.0, 8.0, 4.0
    height = top + len(hosts) * (lane + gap) + 22
    bottom = height - 22
    parts = [_shade(axis, 0, bottom), _rules(axis, 0, bottom)]
    for number, (host, title) in enumerate(hosts):
        y = top + number * (lane + gap)
        parts.append(text(LEFT - 10, y + 16, f"{title} {host}", class_="lane-name", text_anchor="end"))
        for reign in reigns:
            if reign.host == host and reign.end_at > axis.first and reign.start_at < axis.last:
                parts.append(_reign(axis, reign, y, lane))
    parts.append(_seconds_axis(axis, bottom))
    return figure(WIDTH, height, "which host was the primary when", parts)


_ROLE_NAMES = {
    "primary": ("주", "primary"),
    "standby": ("예비", "standby"),
    "unreachable": ("응답 없음", "no answer"),
    "other": ("기동 중", "starting"),
}


def _reign(axis: Axis, reign: Reign, y: float, height: float) -> str:
    start, end = axis.scale(reign.start_at), axis.scale(reign.end_at)
    width = max(end - start, 1.0)
    box = tag("rect", class_=f"role {reign.role}", x=start, y=y, width=round(width, 2), height=height, rx=3)
    ko, en = _ROLE_NAMES.get(reign.role, (reign.role, ""))
    if width < 14.0 * len(ko) + 6.5 * len(en) + 16:
        return box
    return box + tag("text", both(ko, en), class_=f"role-name {reign.role}", x=start + 8, y=y + 16)


def write_rate(axis: Axis, seconds: Sequence[Second]) -> str:
    """Requests a second at the edges, stacked: acknowledged, refused, unknown."""
    height, top = 196.0, 12.0
    bottom = height - 26
    most = max([second.total for second in seconds] or [1])
    y = Scale(0, max(most, 1), bottom, top)
    width = max((axis.scale(1) - axis.scale(0)) * 0.86, 1.0)
    parts = [_shade(axis, 0, bottom)]
    for tick in ticks(0, max(most, 1), 5):
        parts.append(tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y(tick), y2=y(tick)))
        parts.append(text(LEFT - 10, y(tick) + 4, f"{tick:g}", class_="axis", text_anchor="end"))
    for second in seconds:
        floor = 0
        for kind in ("acknowledged", "refused", "unknown"):
            count = getattr(second, kind)
            if count:
                x, high, low = axis.scale(second.at), y(floor + count), y(floor)
                parts.append(
                    tag("rect", class_=kind, x=x, y=high, width=round(width, 2), height=round(low - high, 2))
                )
            floor += count
    parts += [_rules(axis, 0, bottom), _seconds_axis(axis, bottom)]
    return figure(WIDTH, height, "requests a second by outcome", parts)


def lag(axis: Axis, samples: Sequence[Lag], hosts: Sequence[str]) -> str:
    """How far each standby is behind, in KiB, by its own LSN ring; a gap in the line is *unknown*."""
    height, top = 150.0, 12.0
    bottom = height - 26
    known = [sample.lag_bytes / 1024 for sample in samples if sample.lag_bytes is not None]
    most = max([*known, 1.0])
    y = Scale(0, most, bottom, top)
    parts = [_shade(axis, 0, bottom)]
    for tick in ticks(0, most, 4):
        parts.append(tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y(tick), y2=y(tick)))
        parts.append(text(LEFT - 10, y(tick) + 4, f"{tick:g} KiB", class_="axis", text_anchor="end"))
    for number, host in enumerate(hosts):
        mine = [sample for sample in samples if sample.host == host]
        parts.append(_broken_line(axis, y, mine, f"lag lag-{number % 4}"))
    parts += [_rules(axis, 0, bottom), _seconds_axis(axis, bottom)]
    return figure(WIDTH, height, "replication lag in bytes", parts)


def _broken_line(axis: Axis, y: Scale, samples: Sequence[Lag], kind: str) -> str:
    """A line through what is known; lone samples are dots, so that they are seen."""
    runs: list[list[tuple[float, float]]] = [[]]
    for sample in samples:
        if sample.lag_bytes is None or sample.role == "primary":
            runs.append([])
        else:
            runs[-1].append((axis.scale(sample.at), y(sample.lag_bytes / 1024)))
    shapes = []
    for points in runs:
        if len(points) > 1:
            shapes.append(tag("polyline", class_=kind, points=" ".join(f"{x:g},{v:g}" for x, v in points)))
        shapes += [tag("circle", class_=f"dot {kind}", cx=x, cy=v, r=2) for x, v in points]
    return "".join(shapes)


PHASE_NAMES = {
    "detect_s": ("감지", "detect"),
    "decide_s": ("결정", "decide"),
    "promote_s": ("승격", "promote"),
    "route_s": ("경로", "route"),
}


def phases(values: Mapping[str, float | None], rto: float) -> str:
    """The phases of RTO on a linear scale. What was not seen stays grey: it is never drawn as 0."""
    height, bar = 34.0, 30.0
    scale = Scale(0, max(rto, 0.001), 0, WIDTH)
    parts, at = [tag("rect", class_="phase rest", x=0, y=2, width=WIDTH, height=bar, rx=3)], 0.0
    for number, name in enumerate(PHASE_NAMES):
        value = values.get(name)
        if value is None:
            break  # what comes after an unseen phase has no known place
        start, end = scale(at), scale(at + value)
        parts.append(
            tag(
                "rect",
                class_=f"phase phase-{number}",
                x=start,
                y=2,
                width=max(round(end - start, 2), 1.5),
                height=bar,
            )
        )
        at += value
    return figure(WIDTH, height, "phases of the recovery time", parts)


def objective(rto: float, objective_s: float) -> str:
    """RTO against the objective on a logarithmic scale from 1 second to a day, and said so."""
    height, y = 92.0, 40.0
    scale = LogScale(1, 86400, 8, WIDTH - 8)
    parts = [
        tag("rect", class_="promise", x=8, y=y - 7, width=round(scale(objective_s) - 8, 2), height=14, rx=7),
        tag("rect", class_="reached", x=8, y=y - 7, width=max(round(scale(rto) - 8, 2), 3), height=14, rx=7),
    ]
    for value, ko, en in (
        (1, "1초", "1 s"),
        (10, "10초", "10 s"),
        (60, "1분", "1 min"),
        (600, "10분", "10 min"),
        (3600, "1시간", "1 h"),
        (14400, "4시간", "4 h"),
        (86400, "하루", "1 day"),
    ):
        x = scale(value)
        anchor = "end" if value == 86400 else "start" if value == 1 else "middle"
        parts.append(tag("line", class_="tick", x1=x, x2=x, y1=y + 9, y2=y + 15))
        parts.append(tag("text", both(ko, en), class_="axis", x=x, y=y + 31, text_anchor=anchor))
    parts.append(
        tag(
            "text",
            both(f"이번 훈련 {rto:.1f}초", f"this drill {rto:.1f} s"),
            class_="reached-label",
            x=scale(rto) + 6,
            y=y - 15,
        )
    )
    limit = scale(objective_s)
    parts.append(tag("line", class_="promise-line", x1=limit, x2=limit, y1=y - 24, y2=y + 12))
    parts.append(tag("text", both("목표", "objective"), class_="promise-label", x=limit + 6, y=y - 15))
    return figure(WIDTH, height, "recovery time against the objective, logarithmic", parts)


def counts(values: Sequence[int], drawn: Sequence[int]) -> dict[int, str]:
    """A small bar for each of the 15 preliminary prices, by number: how often it was drawn."""
    scale = Scale(0, max([*values, 1]), 0, 120)
    made = {}
    for number, value in enumerate(values, start=1):
        kind = "count drawn" if number in drawn else "count"
        bar = tag("rect", class_=kind, x=0, y=3, width=scale(value), height=12, rx=2)
        made[number] = tag("svg", bar, viewBox="0 0 120 18", width=120, height=18, aria_hidden="true")
    return made
