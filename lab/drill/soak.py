"""The soak: a quarter of an hour of jitter, loss and cuts shorter than the window. Not part of the matrix."""

from __future__ import annotations

from dataclasses import replace

from lab.drill.matrix import MATRIX_BOUNDS, TRIES_S, Break, Expect, scenario

SOAK_S = 900.0

SOAK = scenario(
    "soak",
    ("짧은 단절과 흔들림 15분", "A quarter of an hour of jitter, loss and short cuts"),
    ("주 서버는 그대로, 헛된 절체가 없다", "nothing moves, no needless takeover"),
    (
        Break("wan", "all:delay=6ms,jitter=5ms,loss=0.5"),
        Break("flap", "{home}:cut=400ms,every=7300ms"),  # both other sites miss it at the same time
        Break("flap", "{backup}:cut=400ms,every=11900ms"),
        Break("flap", "{home}-{backup}:cut=400ms,every=5100ms"),
    ),
    Expect(("{primary}",), hold_s=SOAK_S, wait_s=TRIES_S, heal_outage_s=2.5),
    replace(MATRIX_BOUNDS, load_s=SOAK_S + 400.0),
)
