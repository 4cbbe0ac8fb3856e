"""The report's words: Korean first, then English. Every name of the audit and of the timeline is here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.drill.plan import PROBE_INTERVAL_S

Pair = tuple[str, str]

VERDICTS: dict[str, Pair] = {
    "passed": ("합격", "passed"),
    "failed": ("불합격", "failed"),
    "inconclusive": ("판정 불가", "inconclusive"),
}
CHECK_VERDICTS: dict[str, Pair] = {
    "passed": ("이상 없음", "passed"),
    "failed": ("위반", "failed"),
    "unknown": ("확인 불가", "unknown"),
}

MOMENTS: dict[str, Pair] = {
    "fault": ("전원 차단", "power cut"),
    "resumed": ("서비스 재개", "service back"),
    "opened": ("개찰", "opened"),
    "heal": ("전원 복구", "power on"),
    "rejoined": ("복제 복귀", "rejoined"),
    "home": ("원위치", "home again"),
}
EVENTS: dict[str, Pair] = {
    "load_running": ("부하 시작", "load running"),
    "first_bids": ("공식 표본 입찰 3분의 2 접수", "first official bids received"),
    "steady": ("정상 상태 확인", "steady state proved"),
    "fault_active": ("주 센터 전원 차단", "power of the primary site cut"),
    "fault_proved": ("상실 확인", "loss proved"),
    "promoted": ("백업 센터 승격", "backup promoted"),
    "service_back": ("남은 모든 창구에서 서비스 재개", "service back at every edge that is left"),
    "last_third": ("나머지 입찰 접수", "last third of the bids received"),
    "waiting_for_deadline": ("입찰 마감 대기", "waiting for the deadline"),
    "opened": ("백업 센터에서 개찰", "opened at the backup"),
    "healed": ("주 센터 전원 복구", "power of the primary site on"),
    "rejoined": ("주 센터 복제 복귀", "primary site rejoined"),
    "switchover": ("계획 절체 시작", "planned switchover"),
    "switchover_refused": ("절체 거절, 다시 시도", "switchover refused, asked again"),
    "home": ("주 센터로 복귀 완료", "home again"),
    "quiet": ("부하 종료", "load stopped"),
    "audited": ("전수 감사", "audit of every write"),
    "not_read": ("서버를 읽지 못함", "a host could not be read"),
    "audit_failed": ("감사하지 못함", "the audit could not be made"),
    "ended": ("훈련 종료", "drill ended"),
    "block_period": ("연속 절체 방지 시간 대기", "waiting for the block period"),
    "service_goes_on": ("서비스 계속", "the service goes on"),
    "held": ("장애 아래에서 유지", "held under the fault"),
    "still_waiting": ("복구 대기", "waiting for the heal"),
    "heal_failed": ("복구 실패", "a fault could not be healed"),
    "service_failed": ("지키지 못함", "the service did not do what it owes"),
    "handover_seen": ("절체 보류 확인", "the hold was seen in etcd"),
    "lock_taken": ("후보가 잠금을 얻음", "the candidate took the lock"),
    "not_in_the_middle": ("절체 한가운데가 아님", "the middle of the switchover was not seen"),
    "switchover_ended": ("계획 절체 끝", "planned switchover ended"),
    "inside": ("센터 안 고객 시작", "clients inside the site"),
}
# Words of the fault matrix, where the fault is any and the primary may go anywhere.
MATRIX_MOMENTS: dict[str, Pair] = MOMENTS | {
    "fault": ("장애", "fault"),
    "heal": ("복구", "healed"),
    "rejoined": ("온전해짐", "whole again"),
}
MATRIX_EVENTS: dict[str, Pair] = EVENTS | {
    "fault_active": ("장애 주입", "fault injected"),
    "fault_proved": ("장애 확인", "fault proved"),
    "promoted": ("승격", "promoted"),
    "service_back": ("서비스 재개", "service back"),
    "healed": ("복구", "healed"),
    "rejoined": ("복제 복귀", "rejoined"),
}
CHECKS: dict[str, Pair] = {
    "every_host_read": ("모든 데이터베이스를 읽었는가", "every database host was read"),
    "acknowledged_everywhere": (
        "확인된 거래가 모든 서버에 있는가",
        "every acknowledged write is on every host",
    ),
    "same_answer": ("보관된 답이 고객이 받은 답과 같은가", "each host keeps the answer that was given"),
    "no_phantom": ("보낸 적 없는 거래가 없는가", "no write that nobody sent"),
    "no_duplicate": ("두 번 기록된 거래가 없는가", "no write twice"),
    "hosts_agree": ("서버 간 내용이 일치하는가", "all hosts hold the same"),
    "receipts_chained": ("접수증 사슬이 온전한가", "the chain of receipts is whole"),
    "official_as_published": ("공식 표본 결과와 같은가", "the official result came out as published"),
    "clock_goes_forward": ("시각이 거꾸로 가지 않는가", "the database's time only goes forward"),
    "deadlines_kept": ("마감 뒤 접수된 입찰이 없는가", "no bid after its deadline"),
    "canaries_never_stopped": ("측정이 끊기지 않았는가", "the measurement never stopped"),
    "never_wholly_down": ("서비스 전면 중단이 길지 않은가", "never wholly down for long"),
    "awards_stand": ("낙찰이 다시 결정되지 않는가", "no award decided again"),
    "paid_once": ("대금이 한 번만 지급되었는가", "every payment made once"),
    "payments_not_delayed": ("대금 지급이 늦지 않은가", "no payment delayed"),
}
NEVER: dict[str, Pair] = {
    "never_wholly_down": ("서비스가 오래 전면 중단되는 일", "The service wholly down for long"),
    "awards_stand": (
        "자료나 산식 때문에 낙찰을 다시 정하는 일",
        "An award decided again because of data or a formula",
    ),
    "payments_not_delayed": (
        "대금, 특히 하도급 대금이 늦어지는 일",
        "A payment delayed, a subcontractor's above all",
    ),
}
EXPECTATIONS: dict[str, Pair] = {
    "primary_where_expected": ("주 서버가 있어야 할 곳", "where the primary may be"),
    "nothing_moves_alone": ("복구 전에는 스스로 움직이지 않음", "nothing moves by itself before the heal"),
    "takeovers_as_expected": ("승격 횟수", "promotions"),
    "no_false_alarm": ("헛된 절체 없음", "no false alarm of the controllers"),
    "epochs_only_rise": ("차수는 오르기만 함", "epochs only rise"),
    "one_acknowledging": ("확인해 주는 주 서버는 하나", "never two acknowledging primaries"),
    "cancelled_commits": ("취소된 COMMIT을 보았는가", "cancelled COMMITs were seen"),
    "outage_within_limit": ("가장 늦은 고객 줄의 중단", "outage of the slowest client stream"),
    "no_client_waits_longer": ("한 고객이 가장 오래 기다린 시간", "the longest wait of one client"),
    "service_stays_back": ("돌아온 뒤 실패한 요청", "requests that failed once the service was back"),
    "returns_after_heal": ("복구 뒤 돌아온 시간", "back after the heal"),
    "heal_without_outage": ("복구 때 멈춘 시간", "outage at the heal"),
    "heal_without_failure": ("복구 때 실패한 요청", "requests that failed at the heal"),
    "no_request_fails": ("실패한 요청", "failed requests"),
    "no_request_is_slow": ("가장 느린 요청", "the slowest request"),
    "left_the_sync_set": ("느린 예비가 동기 집합에서 빠진 때", "the dragging standby left the sync set"),
    "back_in_the_sync_set": ("동기 집합으로 돌아온 때", "back in the sync set"),
    "unprotected_recorded": ("보호받지 못한 구간의 기록", "the record of the unprotected interval"),
    "struck_in_the_middle": ("절체 한가운데에 닥쳤는가", "the fault came in the middle"),
    "command_told_the_truth": ("절체 명령이 사실대로 말했는가", "the command told how it ended"),
    "poolers_let_go": ("풀러가 풀린 때", "the poolers let go"),
    "whole_again": ("모두 다시 온전함", "whole again"),
    "way_home_without_failure": ("돌아가는 계획 절체", "the planned switchover home"),
}
KINDS: dict[str, Pair] = {
    "award": ("낙찰", "award"),
    "bid": ("입찰", "bid"),
    "canary": ("탐침 쓰기", "canary write"),
    "claim": ("대금 청구", "claim"),
    "company": ("업체 등록", "company"),
    "completion": ("준공", "completion"),
    "confirmation": ("계약 확정", "confirmation"),
    "consent": ("계약 동의", "consent"),
    "contract": ("계약", "contract"),
    "inspection": ("검사", "inspection"),
    "institution": ("기관 등록", "institution"),
    "opening": ("개찰", "opening"),
    "payment": ("대금 지급", "payment"),
    "subcontract": ("하도급", "subcontract"),
    "subcontract_payment": ("하도급 대금", "subcontract payment"),
    "tender": ("공고", "notice"),
}
PHASES: dict[str, Pair] = {
    "detect_s": ("잠금이 풀릴 때까지", "until the lock is free"),
    "decide_s": ("새 주 서버가 잠금을 얻을 때까지", "until the lock is taken"),
    "promote_s": ("쓰기가 가능할 때까지", "until it is writable"),
    "route_s": ("고객이 다시 확인을 받을 때까지", "until clients are acknowledged"),
}
STEPS: dict[str, Pair] = {
    "lab_up": ("환경 기동", "lab up"),
    "steady": ("정상 상태와 부하", "steady state and load"),
    "fault": ("장애 주입", "fault"),
    "takeover": ("인계", "takeover"),
    "last_third": ("나머지 입찰", "last third"),
    "opening": ("마감 대기와 개찰", "deadline and opening"),
    "heal": ("전원 복구", "power on"),
    "rejoin": ("복귀", "rejoin"),
    "switchover": ("원위치", "switchover home"),
    "quiet": ("정지", "quiet"),
    "audit": ("감사", "audit"),
    "logs": ("기록 수집", "logs"),
    "keys": ("열쇠 폐기", "keys removed"),
    "lab_down": ("환경 정리", "lab down"),
}


def pair(table: Mapping[str, Pair], name: str) -> Pair:
    """The words of a name; the name itself where there are none."""
    return table.get(name, (name, ""))


def moments(result: Mapping[str, Any]) -> dict[str, Pair]:
    """The words of the moments of this kind of drill."""
    return MATRIX_MOMENTS if result.get("matrix") else MOMENTS


def events(result: Mapping[str, Any]) -> dict[str, Pair]:
    """The words of the events of this kind of drill."""
    return MATRIX_EVENTS if result.get("matrix") else EVENTS


def seconds(value: float | None, digits: int = 1) -> str:
    """A figure, or a dash when it is not known."""
    return "–" if value is None else f"{value:.{digits}f}"


def duration(value: float) -> Pair:
    """A long time in the largest unit that divides it."""
    for size, ko, en in ((3600, "시간", "h"), (60, "분", "min")):
        if value >= size and value % size == 0:
            return f"{value / size:g}{ko}", f"{value / size:g} {en}"
    return f"{value:g}초", f"{value:g} s"


def _title(result: Mapping[str, Any], role: str) -> Pair:
    for site in result.get("topology") or []:
        if site["role"] == role:
            return site.get("title") or site["name"], site["name"].capitalize()
    return {"primary": ("주 센터", "the primary site"), "backup": ("백업 센터", "the backup")}[role]


def headline(result: Mapping[str, Any]) -> Pair:
    """The whole drill in one sentence, as far as it is known."""
    if result.get("matrix"):
        return matrix_headline(result)
    home, backup = _title(result, "primary"), _title(result, "backup")
    rto, done, lost = result.get("rto_seconds"), result.get("acknowledged"), result.get("lost")
    if rto is None:
        return (
            f"{home[0]} 전원 상실 훈련을 끝까지 마치지 못해, 이 기록으로는 아무것도 보증할 수 없습니다.",
            f"The drill of losing {home[1]} did not come to its end; this record proves nothing.",
        )
    ko = f"{home[0]} 전원 상실 → {rto:.1f}초 뒤 {backup[0]}에서 재개"
    en = f"{home[1]} lost its power; {rto:.1f} s later the service was back at {backup[1]}"
    if done is None or lost is None:
        return f"{ko}, 거래 손실 여부는 확인하지 못함", f"{en}; whether anything was lost is not known"
    return (
        f"{ko}, 확인된 거래 {done:,}건 중 손실 {lost:,}건",
        f"{en}; {lost:,} of {done:,} acknowledged operations lost",
    )


def matrix_headline(result: Mapping[str, Any]) -> Pair:
    """What was broken, how long no client of a stream was served, how long one waited, and what was lost."""
    title, stall, lost = result["title"], result.get("longest_stall_seconds"), result.get("lost")
    out = result.get("rto_seconds") if result.get("rto_seconds") is not None else stall
    ko = "중단 시간은 재지 못함" if out is None else f"가장 늦은 고객 줄의 중단 {out:.1f}초"
    en = "the outage was not measured" if out is None else f"outage of the slowest client stream {out:.1f} s"
    if (wait := result.get("slowest_wait_seconds")) is not None:
        ko, en = f"{ko}, 한 고객의 대기 최대 {wait:.1f}초", f"{en}, longest wait of one client {wait:.1f} s"
    if lost is None:
        return f"{title['ko']}: {ko}, 손실 여부는 확인하지 못함", f"{title['en']}: {en}; losses are not known"
    done = result.get("acknowledged") or 0
    return (
        f"{title['ko']}: {ko}, 확인된 거래 {done:,}건 중 손실 {lost:,}건",
        f"{title['en']}: {en}; {lost:,} of {done:,} acknowledged operations lost",
    )


def duplicates(result: Mapping[str, Any]) -> Pair:
    """How many operations have two effects, and how many could have: those sent again, outcome unknown."""
    twice, again = result.get("duplicated"), result.get("retried_unknown")
    ko, en = (
        ("중복 모름", "duplicates not known")
        if twice is None
        else (f"중복 {twice:,}건", f"{twice:,} duplicated")
    )
    if again is None:
        return ko, en
    return (
        f"{ko}(결과를 모른 채 다시 보낸 것 {again:,}건)",
        f"{en} ({again:,} were sent again, outcome unknown)",
    )


def sentence(reasons: list[str]) -> str:
    """Several reasons as one line."""
    return "; ".join(reasons)


def phase(value: float | None, digits: int = 2) -> str:
    """A phase of a takeover: both ends in one sample of the probes is less than their period, not 0."""
    if value is not None and round(value, digits) == 0:
        return f"< {PROBE_INTERVAL_S:g}"
    return seconds(value, digits)
