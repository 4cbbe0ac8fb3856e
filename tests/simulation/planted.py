"""Planted bugs: a checker that has never failed proves nothing.

Each bug is one change, as `planting.py` describes it. The same incidents without it break nothing
(`test_planted.py` runs both).
"""

from __future__ import annotations

from .controller_broken import CONTROLLER_BROKEN
from .guards_removed import GUARDS_REMOVED
from .patroni_broken import PATRONI_BROKEN
from .planting import Planted

PLANTED: tuple[Planted, ...] = (*GUARDS_REMOVED, *CONTROLLER_BROKEN, *PATRONI_BROKEN)
