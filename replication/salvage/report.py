"""What a person is told of a salvage: one verdict, one line for the journal, one page of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from replication.salvage.store import Manifest


class Verdict(StrEnum):
    """What is left to do."""

    NOTHING = "nothing was left behind"
    PRESENT = "all rows are on the new primary"
    MISSING = "rows are missing on the new primary"
    UNKNOWN = "unknown"


def verdict(manifest: Manifest, comparison: Mapping[str, Any] | None) -> Verdict:
    """Unknown is neither nothing nor present: not read, read in part, or not compared yet."""
    if manifest.committed is None or manifest.decoded not in ("yes", "partly", "no need"):
        return Verdict.UNKNOWN
    states = [row["state"] for row in comparison["rows"]] if comparison else []
    if "missing" in states:
        return Verdict.MISSING
    if manifest.decoded == "partly":
        return Verdict.UNKNOWN
    if not manifest.records:
        return Verdict.NOTHING
    if len(states) != manifest.records or "unknown" in states:
        return Verdict.UNKNOWN
    return Verdict.PRESENT


def counted(records: Sequence[Mapping[str, Any]]) -> str:
    """`1 payment, 2 bid`, in the order of the rows."""
    counts: dict[str, int] = {}
    for record in records:
        counts[record["title"]] = counts.get(record["title"], 0) + 1
    return ", ".join(f"{count} {title}" for title, count in counts.items()) or "no row"


def headline(manifest: Manifest, records: Sequence[Mapping[str, Any]]) -> str:
    """One line for the journal."""
    parted = f"parted at {manifest.parted_lsn} of timeline {manifest.parted_timeline}"
    if manifest.parted_lsn is None:
        parted = "where it parted from the new primary is unknown"
    if manifest.committed is None:
        found = "what was left behind is UNKNOWN"
    elif manifest.empty:
        found = "nothing was left behind"
    else:
        rows = counted(records) if manifest.decoded in ("yes", "partly") else "rows not decoded"
        found = f"{manifest.committed} transactions left behind ({rows})"
    return f"salvage {manifest.id}: {found}; {parted}, {_size(manifest.tail_bytes)} of WAL beyond"


def _size(size: int | None) -> str:
    return "unknown" if size is None else f"{size} B"


def report(
    manifest: Manifest, decoded: Mapping[str, Any] | None, comparison: Mapping[str, Any] | None
) -> str:
    """The page: what, which rows, what is not known. Payments first."""
    records: Sequence[Mapping[str, Any]] = decoded["records"] if decoded else []
    lines = [
        f"Salvage {manifest.id}",
        "",
        f"  host          {manifest.host}, cluster {manifest.cluster}",
        f"  saved         {manifest.made_at}, before: {manifest.before}",
        f"  parted        {manifest.parted_lsn or 'unknown'} on timeline {manifest.parted_timeline or '?'}",
        f"  new primary   {manifest.leader or 'unknown'}, timeline {manifest.new_timeline or 'unknown'}",
        f"  ended         {manifest.end_lsn or 'unknown'} on timeline {manifest.timeline}",
        f"  left behind   {_transactions(manifest)}, {_size(manifest.tail_bytes)} of WAL",
        f"  kept          {len(manifest.segments)} WAL segments"
        + (f", NOT kept: {', '.join(manifest.left_out)}" if manifest.left_out else ""),
        f"  decoded       {manifest.decoded}",
        f"  verdict       {verdict(manifest, comparison)}",
    ]
    lines += [f"  note          {note}" for note in manifest.notes]
    if records:
        lines += ["", f"Rows that these transactions left ({counted(records)}):", ""]
        states = {row["n"]: row for row in comparison["rows"]} if comparison else {}
        for number, record in enumerate(records):
            lines += _row(record, states.get(number))
        lines += ["", _compared(comparison)]
    if decoded:
        lines += [f"Changed: {one}." for one in decoded["changed"]]
        lines += [f"NOT READ: {one}." for one in decoded["unread"]]
    if manifest.committed:
        lines += ["", *CAUTION]
    return "\n".join(lines) + "\n"


CAUTION = (
    "These transactions are durable on the old primary only. Whether a client was told so is not known here:",
    "a commit that was cancelled while it waited for its sync standby is answered as done, with a warning.",
    "Transactions that left no row in a table (the observers' probes, for one) are counted, and not listed.",
)


def _transactions(manifest: Manifest) -> str:
    if manifest.committed is None:
        return "UNKNOWN"
    if manifest.empty:
        return "nothing"
    when = f"{manifest.first_commit_at} to {manifest.last_commit_at} UTC"
    return f"{manifest.committed} committed transactions ({when})"


def _row(record: Mapping[str, Any], state: Mapping[str, Any] | None) -> list[str]:
    what = " ".join(f"{name}={value}" for name, value in {**record["key"], **record["of"]}.items())
    found = WORDS[state["state"]] if state else WORDS["unknown"]
    lines = [f"  {record['title']}: {what}", f"      committed {record['committed_at']} UTC; {found}"]
    if state and state["state"] == "again":
        lines.append(f"      differs in: {', '.join(state['differs']) or 'nothing'}")
    if state and state["key_taken"]:
        lines.append("      its key belongs to another row now: do not copy it as it is")
    return lines


WORDS = {
    "same": "the new primary has it",
    "again": "the new primary has it from the same request, sent again",
    "missing": "MISSING on the new primary",
    "unknown": "whether the new primary has it is unknown",
}


def _compared(comparison: Mapping[str, Any] | None) -> str:
    if comparison is None:
        return "Not compared with the new primary yet: hanbat salvage compare ID."
    return (
        f"Compared {comparison['at']} on {comparison['host']}, which had replayed {comparison['lsn']} "
        f"of timeline {comparison['timeline']}."
    )
