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
    """Such as "promoting gg-db1 now loses at most 3.2 s, 41 transactions"."""
    if prospect.lost_bytes == 0:
        return f"promoting {prospect.candidate} now loses nothing (known {_seconds(prospect.age_ms)} ago)"
    loss = [
        _or_unknown(prospect.lost_ms, _seconds, "an unknown time"),
        _or_unknown(prospect.lost_transactions, _transactions, "an unknown number of transactions"),
        _or_unknown(prospect.lost_bytes, lambda number: f"{number} bytes", "an unknown amount of WAL"),
    ]
    age = f"(known {_seconds(prospect.age_ms)} ago)"
    return f"promoting {prospect.candidate} now loses at most {', '.join(loss)} {age}"


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


def _loss_order(prospect: Prospect) -> tuple[bool, int, str]:
    """Least loss first; unknown loss last, since it may be any."""
    return (prospect.lost_bytes is None, prospect.lost_bytes or 0, prospect.candidate)


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.1f} s"


def _transactions(number: int) -> str:
    return f"{number} transaction{'' if number == 1 else 's'}"


def _or_unknown(number: int | None, text: Callable[[int], str], otherwise: str) -> str:
    return otherwise if number is None else text(number)
