"""What a person is told who must decide. From data only; what nobody knows is said to be unknown."""

from __future__ import annotations

from collections.abc import Callable

from failover.view import Prospect, View, Waiting


def support(view: View) -> str:
    """One sentence for each candidate and one for waiting."""
    lines = [promoting(prospect) for prospect in sorted(view.prospects, key=_loss_order)]
    if not lines:
        lines = ["no candidate is known"]
    return "; ".join([*lines, waiting(view.waiting)])


def promoting(prospect: Prospect) -> str:
    """What is lost; a person signs for these words. "Nothing" is said only of what is proved."""
    one = prospect
    if one.proved:
        return (
            f"promoting {one.candidate} now loses nothing: all that {one.primary} has acknowledged is there"
        )
    back = _or_unknown(one.back_ms, lambda ms: f"going back about {_seconds(ms)}", "how far back: unknown")
    seen = _or_unknown(one.seen_ms, lambda ms: f"{_seconds(ms)} ago", "nobody knows when")
    lacks = [
        _or_unknown(one.lacks_bytes, lambda number: _up_to(number, "byte"), "an unknown amount of WAL"),
        _or_unknown(
            one.lacks_transactions,
            lambda number: _up_to(number, "transaction"),
            "an unknown number of transactions",
        ),
    ]
    return (
        f"promoting {one.candidate} now loses an unknown amount ({back}): what {one.primary} has "
        f"acknowledged since it was last seen ({seen}), and of what it had then {', '.join(lacks)}"
    )


def waiting(cost: Waiting) -> str:
    """What waiting brings and costs."""
    lease = _or_unknown(
        cost.lease_left_ms,
        lambda number: (
            f"Patroni's lease runs out in {_seconds(number)}" if number else "Patroni's lease has run out"
        ),
        "it is unknown when Patroni's lease runs out",
    )
    deadlines = _or_unknown(
        cost.deadlines_crossed,
        lambda number: f"waiting crosses {number} bid deadline{'' if number == 1 else 's'} within the hour",
        "it is unknown which deadlines waiting crosses",
    )
    return f"{lease}; {deadlines}"


def _loss_order(prospect: Prospect) -> tuple[bool, bool, int, str]:
    """What is proved first, then what lacks least; unknown last, since it may be any."""
    lacks = prospect.lacks_bytes
    return (not prospect.proved, lacks is None, lacks or 0, prospect.candidate)


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.1f} s"


def _up_to(number: int, what: str) -> str:
    return f"{'up to ' if number else ''}{number} {what}{'' if number == 1 else 's'}"


def _or_unknown(number: int | None, text: Callable[[int], str], otherwise: str) -> str:
    return otherwise if number is None else text(number)
