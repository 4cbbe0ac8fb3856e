"""A little SVG: scales, axes and escaped text. Pure functions that answer strings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps a range of values to a range of pixels, linearly; values outside are held at the ends."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        if self.high == self.low:
            return self.start
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + min(1.0, max(0.0, share)) * (self.end - self.start), 2)


@dataclass(frozen=True, slots=True)
class LogScale:
    """Maps positive values to pixels by their logarithm."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        inner = Scale(math.log10(self.low), math.log10(self.high), self.start, self.end)
        return inner(math.log10(max(value, self.low)))


def nice_step(span: float, most: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that cuts a span into at most `most` parts."""
    if span <= 0:
        return 1.0
    raw = span / most
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))


def ticks(low: float, high: float, most: int = 8) -> tuple[float, ...]:
    """Round values between two ends, the ends included where they are round."""
    step = nice_step(high - low, most)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(number * step, 10) for number in range(first, last + 1))


def tag(name: str, content: str = "", **attributes: object) -> str:
    """One element. `class_` is class, `stroke_width` is stroke-width; values are escaped, content is not."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for key, value in attributes.items()
    )
    return f"<{name}{shown}>{content}</{name}>" if content else f"<{name}{shown}/>"


def text(x: float, y: float, words: str, **attributes: object) -> str:
    """Escaped text at a place."""
    return tag("text", escape(words), x=x, y=y, **attributes)


def both(ko: str, en: str) -> str:
    """A label in Korean, then English; for the content of a text element."""
    return f'<tspan class="ko">{escape(ko)}</tspan><tspan class="en" dx="6">{escape(en)}</tspan>'


def figure(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """A whole SVG with its accessible name."""
    body = tag("title", escape(title)) + "".join(parts)
    return tag(
        "svg",
        body,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        xmlns="http://www.w3.org/2000/svg",
        class_="chart",
    )
