"""`docs/drills.md`, made from the scenarios: `hanbat drill list --markdown`."""

from __future__ import annotations

from collections.abc import Iterable

from lab.drill.matrix import (
    ROLES,
    Break,
    Expect,
    MatrixScenario,
    Mend,
    Once,
    Range,
    Step,
    Switchover,
    wait_limit_s,
)
from lab.drill.matrix_edges import CUT_BACK_S, POWER_BACK_S
from lab.drill.scenario import Scenario

HEAD = f"""# Drills

Made from the code by `hanbat drill list --markdown > docs/drills.md`; a test fails when it is not.

`hanbat drill run SCENARIO` runs one. `hanbat drill matrix [NAME...] [--seeds A-B] [--repeat N]` runs many in
one lab, one after the other, and writes `evidence/matrix-*.json` with p50, p95 and max of each scenario;
`hanbat drill table FILE...` makes one table of several such files. Exit status: 0 passed, 1 failed, 5
inconclusive. The seed chooses the pauses and what the clients do; the same seed chooses the same.

A drill of the matrix: steady state proved, load running, fault injected and proved active, the service
watched, the fault held for a while, healed, everything whole again by itself, watched until 12 s after the
heal (the controllers may act again by then), the primary home by a planned switchover if it moved, quiet,
audit on all database hosts, verdict. The controllers' block period (10 s after an operation) is waited for
first, so that any host may take over. A failed expectation is written down and the drill goes on: the audit
comes in any case, also when the drill is broken off, over the hosts that can be read. A host that cannot be
read leaves doubt; nothing is called lost because of it. When the lab is not whole before the next drill, the
one before has failed.

## What every drill of the matrix must hold

| expectation | what it says |
|---|---|
| audit | on every database host: 0 acknowledged writes lost, 0 duplicated, 0 that nobody sent; a retry got \
the stored answer; who claimed is paid; openings and awards are what their bids give |
| `primary_where_expected` | just before the heal the primary is at one of the hosts of the table below |
| `takeovers_as_expected` | promotions, counted by PostgreSQL's timeline: none is missing, none is needless |
| `no_false_alarm` | the controllers' epoch does not rise more often than that |
| `epochs_only_rise` | it never goes back |
| `outage_within_limit` | no client *stream* is without an answer longer (nothing moved: no commit stalls) |
| `no_client_waits_longer` | nor waits one client for one operation, its time-outs and pauses counted in |
| `service_stays_back` | after a takeover no request fails any more at an edge with a way in |
| `heal_without_outage` | the same from the heal until all is whole: 1.5 s, where the table says no other |
| `heal_without_failure` | no request fails in that time (5xx, time-out, reset; of a canary a 4xx as well) |
| `whole_again` | sync set, etcd, every application host and edge are whole again, by themselves |
| `way_home_without_failure` | nor in the planned switchover home, nor is one slower than the outage limit |

Where nobody can be served (no majority, no power), instead: `nothing_moves_alone` (no other host becomes
primary before the heal) and `returns_after_heal`. Where clients at the primary's site write straight to the
old primary, until all is whole: `one_acknowledging` (no host acknowledges after another is primary on the
same or a later timeline; of a primary that stood still only what was sent after, for it may wake with an
answer in its hands; PostgreSQL must have answered such a client after the heal) and `cancelled_commits` (a
COMMIT that waits for its sync standby was cancelled and came back with a warning: *unknown*, never
acknowledged). For a planned switchover: `no_request_fails`, `no_request_is_slow`. For a
fault in the middle of one: `struck_in_the_middle` (it came after the hold, or the candidate's lock, was seen
in etcd, and before the end; else the drill is inconclusive), `command_told_the_truth` (the primary that the
command names), `poolers_let_go` (the hold is gone and every pooler that obeyed it is open). For a standby
that drags: `left_the_sync_set` (/sync names it no more within the limit, until the heal),
`back_in_the_sync_set`, and `unprotected_recorded` (the primary's own record has exactly one closed interval,
from when it left to when it was back). What could
not be seen is in doubt, and the drill then not passed.

A client's time-out is 2 s, its pause before the next try 1 s. It has *no way in* when its edge stands in a
site that is lost or cut off from the primary; clients that know both edges (the bidders) always count, but
for a request that reached nobody at such an edge. Edges are closed from the fault to the heal only. After
it such an edge counts from its first acknowledgement, and at the latest {CUT_BACK_S:g} s after a cut (a
health check that hangs in it, the next one, a first answer) or {POWER_BACK_S:g} s after the power was off
(its machines boot); one that is later was out since the heal. A check that saw no request is in doubt,
never passed.
"""

ONCE = {Once.HELD: "from the hold on", Once.LOCKED: "from when the candidate has the lock"}


def markdown(scenarios: Iterable[Scenario]) -> str:
    """The whole page."""
    every = list(scenarios)
    mine = [each for each in every if isinstance(each, MatrixScenario)]
    others = [each for each in every if not isinstance(each, MatrixScenario)]
    roles = "\n".join(f"- `{role}`: {text}" for role, text in ROLES.items())
    rows = "\n".join(_row(each) for each in mine)
    longer = "\n".join(
        f"- `{each.name}`: {each.title_en} ({each.title_ko}). {each.summary_en}" for each in others
    )
    return (
        f"{HEAD}\n## The drill with the official tender\n\n{longer}\n\n"
        f"## The fault matrix\n\nRoles:\n\n{roles}\n\n"
        "| scenario | what is done | primary then | takeovers | outage of a stream, wait of one client "
        "| held for | must hold |\n"
        f"|---|---|---|---|---|---|---|\n{rows}\n"
    )


def _row(each: MatrixScenario) -> str:
    steps = "; ".join(_step(step) for step in each.steps)
    expect = each.expect
    where = (
        "nobody" if expect.outage_expected else " or ".join(role.strip("{}") for role in expect.primary_at)
    )
    low, high = expect.takeovers
    cells = (
        f"`{each.name}`<br>{each.title_ko}",
        steps,
        where,
        str(low) if low == high else f"{low} to {high}",
        _outage(expect),
        f"{expect.hold_s:g} s",
        f"{each.summary_en}{_besides(expect)}",
    )
    return f"| {' | '.join(cells)} |"


def _outage(expect: Expect) -> str:
    if expect.outage_expected:
        return f"until the heal, then {expect.return_s:g} s"
    return f"{expect.outage_s:g} s, {wait_limit_s(expect):g} s"


def _besides(expect: Expect) -> str:
    said: list[str] = []
    if expect.no_way_in:
        said.append(f"no way in at: {', '.join(role.strip('{}') for role in expect.no_way_in)}")
    if expect.heal_outage_s != Expect(()).heal_outage_s:
        said.append(f"outage at the heal: {expect.heal_outage_s:g} s")
    if expect.insiders:
        site = expect.insiders.site.strip("{}")
        cancel = ", some cancel" if expect.insiders.cancelling else ""
        said.append(f"clients at {site} go on writing to the old primary{cancel}")
    if expect.leaves_sync:
        who = ", ".join(role.strip("{}") for role in expect.leaves_sync)
        said.append(
            f"{who} out of /sync within {expect.leaves_within_s:g} s, back within {expect.back_within_s:g} s"
        )
    if expect.poolers_release_s is not None:
        said.append(f"poolers open within {expect.poolers_release_s:g} s")
    if expect.not_asked:
        said.append(f"not asked: {', '.join(expect.not_asked)}")
    return f" ({'; '.join(said)})" if said else ""


def _step(step: Step) -> str:
    if isinstance(step, Switchover):
        middle = "" if step.wait else ", and in its middle"
        return f"switchover to {step.to.strip('{}')}{_after(step.after_s)}{middle}"
    verb = "heal " if isinstance(step, Mend) else ""
    assert isinstance(step, Break | Mend)
    once = step.once if isinstance(step, Break) else None
    when = _after(step.after_s) + (f" {ONCE[once]}" if once else "")
    return f"{verb}`{step.fault}` {step.target.replace('{', '').replace('}', '')}{when}"


def _after(pause: Range) -> str:
    return f" after {pause[0]:g}-{pause[1]:g} s" if pause[1] else ""
