"""The fault matrix: every scenario, what is done, and what must hold. `docs/drills.md` is made from it."""

from __future__ import annotations

from dataclasses import replace

from lab.drill.matrix import (
    MATRIX_BOUNDS,
    TRIES_S,
    Break,
    Expect,
    Insiders,
    MatrixScenario,
    Mend,
    Once,
    Switchover,
    scenario,
)
from lab.drill.matrix_edges import POWER_BACK_S

POWER_CUT, PARTITION, FREEZE = "power-cut", "partition", "freeze"
KILL, STOP = "kill-process", "stop-process"
STAYS = ("{primary}",)
IN_SITE = ("{in_site_standby}",)
AT_BACKUP = ("{backup_db}",)
# Where a cut or a silence leaves the old primary alive: all that its own site's clients can do to it.
INSIDE = Insiders("{home}")
# Where it dies or hands over: one, straight, to see whether it acknowledges when it is back. Past poolers,
# so a switchover does not hold it, and waits up to 0.3 s for a transaction of its own: not often. Not in
# `switchover`, which measures how long clients wait that are held: it costs them 0.2 s on two cores.
STRAIGHT = Insiders("{home}", direct=1, at_edge=0, cancelling=0, period_s=0.5)
STRAIGHT_FROM_BACKUP = replace(STRAIGHT, site="{backup}")
ANYWHERE = ("{db_hosts}",)
ONE = (1, 1)
AT_MOST_ONE = (0, 1)
# From the hold on it takes about 0.5 s to the lock and 1 s to the end, and the fault itself some of it.
IN_THE_HOLD_S = (0.0, 0.4)
AT_THE_HOLD_S = (0.0, 0.2)  # several faults, one after the other
AFTER_THE_LOCK_S = (0.0, 0.5)
POOLERS_RELEASE_S = 4.0  # the hold's lease of 3 s, and etcd's own time to see that it ran out
LONG_OUTAGE = replace(MATRIX_BOUNDS, outage_s=150.0, rejoin_s=120.0, takeover_s=60.0)

LOSSES = (
    scenario(
        "host-loss",
        ("주 데이터베이스 서버 상실", "Loss of the primary's host"),
        ("같은 센터의 예비 서버가 5초 안에 이어받는다", "the in-site standby takes over within 5 s"),
        (Break(POWER_CUT, "{primary}"),),
        Expect(IN_SITE, takeovers=ONE, insiders=STRAIGHT),
    ),
    scenario(
        "standby-loss",
        ("같은 센터 예비 서버 상실", "Loss of the in-site sync standby"),
        ("주 서버는 그대로, 확인이 5초 넘게 멈추지 않는다", "nothing moves; no commit waits longer than 5 s"),
        (Break(POWER_CUT, "{in_site_standby}"),),
        Expect(STAYS),
    ),
    scenario(
        "backup-db-loss",
        ("백업 데이터베이스 상실", "Loss of the backup's database"),
        ("주 서버는 그대로, 확인이 5초 넘게 멈추지 않는다", "nothing moves; no commit waits longer than 5 s"),
        (Break(POWER_CUT, "{backup_db}"),),
        Expect(STAYS),
    ),
    scenario(
        "site-loss-quick",
        ("주 센터 전원 상실(약식)", "Loss of the primary site, without the tender"),
        ("백업 센터가 5초 안에 이어받는다", "the backup takes over within 5 s"),
        (Break(POWER_CUT, "{home}"),),
        Expect(
            AT_BACKUP,
            takeovers=ONE,
            no_way_in=("{home}",),
            way_back_s=POWER_BACK_S,
            insiders=STRAIGHT_FROM_BACKUP,
        ),
    ),
    scenario(
        "double-fault",
        ("예비 서버에 이어 주 서버 상실", "The in-site standby, then the primary"),
        ("백업 센터가 5초 안에 이어받는다", "the backup takes over within 5 s of the second loss"),
        (Break(POWER_CUT, "{in_site_standby}"), Break(POWER_CUT, "{primary}", after_s=(7.0, 9.0))),
        Expect(AT_BACKUP, takeovers=ONE, insiders=STRAIGHT),
    ),
    scenario(
        "second-loss",
        ("주 서버에 이어 새 주 서버 상실", "The primary, then the one that took over"),
        ("매번 5초 안에 다음 서버가 이어받는다", "each time the next host takes over within 5 s"),
        # Long enough for the backup to join the new primary's sync set, well within the block period.
        (Break(POWER_CUT, "{primary}"), Break(POWER_CUT, "{in_site_standby}", after_s=(6.0, 8.0))),
        # A number may be left out (`mends.fresh_timeline`): two promotions raise it by two or three.
        Expect(AT_BACKUP, takeovers=(2, 3), insiders=STRAIGHT),
    ),
    scenario(
        "stale-returns-first",
        ("뒤처진 서버가 먼저 돌아옴", "The stale standby returns first"),
        (
            "뒤처진 서버는 주 서버가 되지 않고, 모두 돌아오면 서비스가 선다",
            "the stale host does not become primary; the service is back when the others are",
        ),
        (
            Break(POWER_CUT, "{in_site_standby}"),
            Break(POWER_CUT, "{primary}", after_s=(8.0, 9.0)),
            Break(POWER_CUT, "{backup_db}"),
            Mend(POWER_CUT, "{in_site_standby}", after_s=(1.0, 2.0)),
        ),
        Expect(
            ("{primary}", "{backup_db}"),
            takeovers=AT_MOST_ONE,
            outage_expected=True,
            hold_s=12.0,
            return_s=60.0,
            insiders=STRAIGHT,
        ),
        LONG_OUTAGE,
    ),
    scenario(
        "everything-off",
        ("전 센터 정전과 복전", "Everything off, everything on"),
        ("전원이 돌아오면 60초 안에 스스로 선다", "by itself back within 60 s of the power"),
        (Break(POWER_CUT, "{sites}"),),
        Expect(ANYWHERE, takeovers=AT_MOST_ONE, outage_expected=True, hold_s=2.0, return_s=60.0),
        LONG_OUTAGE,
    ),
)

NETWORK = (
    scenario(
        "site-isolated",
        ("주 센터 고립(내부는 살아 있음)", "The primary site is cut off and alive inside"),
        (
            "백업이 5초 안에 이어받고, 고립된 쪽의 깨끗한 확인은 하나도 사라지지 않는다",
            "the backup takes over within 5 s; no clean acknowledgement from inside is lost",
        ),
        (Break(PARTITION, "{home}+clients"),),
        Expect(AT_BACKUP, takeovers=ONE, no_way_in=("{home}",), insiders=INSIDE, cancels=True, hold_s=8.0),
    ),
    scenario(
        "wan-cut",
        ("센터 간 회선 단절(증인은 양쪽을 봄)", "WAN cut between the sites; both see the witness"),
        ("주 서버는 그대로, 확인이 5초 넘게 멈추지 않는다", "nothing moves; no commit waits longer than 5 s"),
        (Break(PARTITION, "{home}-{backup}"),),
        Expect(STAYS, no_way_in=("{backup}",), insiders=INSIDE, hold_s=8.0),
    ),
    scenario(
        "asymmetric-cut-out",
        ("일방 단절: 주에서 백업으로", "One-way cut: from the primary site to the backup"),
        ("주 서버는 그대로, 확인이 5초 넘게 멈추지 않는다", "nothing moves; no commit waits longer than 5 s"),
        (Break(PARTITION, "{home}>{backup}"),),
        Expect(STAYS, no_way_in=("{backup}",), insiders=INSIDE, hold_s=8.0),
    ),
    scenario(
        "asymmetric-cut-in",
        ("일방 단절: 백업에서 주로", "One-way cut: from the backup to the primary site"),
        ("주 서버는 그대로, 확인이 5초 넘게 멈추지 않는다", "nothing moves; no commit waits longer than 5 s"),
        (Break(PARTITION, "{backup}>{home}"),),
        Expect(STAYS, no_way_in=("{backup}",), insiders=INSIDE, hold_s=8.0),
    ),
    scenario(
        "replication-cut",
        ("복제만 단절", "Only replication is cut"),
        ("주 서버는 그대로, 확인이 5초 넘게 멈추지 않는다", "nothing moves; no commit waits longer than 5 s"),
        (Break("replication-cut", "{home}-{backup}"),),
        Expect(STAYS, insiders=INSIDE, hold_s=8.0),
    ),
    scenario(
        "wan-flapping",
        ("회선이 붙었다 끊겼다 함", "The WAN flaps"),
        ("주 서버는 그대로, 헛된 절체가 없다", "nothing moves, no needless takeover"),
        (Break("flap", "{home}-{backup}"),),
        Expect(STAYS, wait_s=TRIES_S, no_way_in=("{backup}",), insiders=INSIDE, hold_s=20.0),
    ),
    scenario(
        "wan-slow",
        ("느린 회선(50 ms, 손실 5 %)", "Slow WAN: 50 ms, 5 % loss"),
        ("주 서버는 그대로, 느려도 멈추지 않는다", "nothing moves; slower, never stopped"),
        (Break("wan", "all"),),
        Expect(STAYS, hold_s=15.0, wait_s=TRIES_S, heal_outage_s=2.5),
    ),
)

DCS = (
    scenario(
        "witness-loss",
        ("증인 상실", "Loss of the witness"),
        ("아무것도 움직이지 않고 멈추지 않는다", "nothing moves, nothing stops"),
        (Break(POWER_CUT, "{witness}"),),
        Expect(STAYS, outage_s=2.0),
    ),
    scenario(
        "witness-then-site-loss",
        ("증인 상실 뒤 주 센터 상실", "The witness, then the primary site"),
        (
            "과반이 없으니 스스로 움직이지 않고, 복구되면 60초 안에 돌아온다",
            "no majority, so nothing moves by itself; back within 60 s of the heal",
        ),
        (Break(POWER_CUT, "{witness}"), Break(POWER_CUT, "{home}", after_s=(4.0, 5.0))),
        Expect(
            ANYWHERE,
            takeovers=AT_MOST_ONE,
            outage_expected=True,
            no_way_in=("{home}",),
            way_back_s=POWER_BACK_S,
            hold_s=26.0,
            return_s=60.0,
            insiders=STRAIGHT_FROM_BACKUP,
        ),
        LONG_OUTAGE,
    ),
    scenario(
        "etcd-leader-loss",
        ("etcd 지도 서버 상실", "Loss of the leader of etcd"),
        (
            "아무것도 움직이지 않고, 확인이 5초 넘게 멈추지 않는다",
            "nothing moves; no commit waits longer than 5 s",
        ),
        (Break(POWER_CUT, "{etcd_leader}"),),
        Expect(STAYS),
    ),
    scenario(
        "etcd-leader-frozen",
        ("etcd 지도 서버가 멈췄다 깨어남", "The leader of etcd stands still and wakes"),
        (
            "아무것도 움직이지 않고, 깨어난 서버가 남의 임대를 끝내지 않는다",
            "nothing moves, and the member that wakes ends nobody's lease",
        ),
        # Longer than Patroni's lease: when it wakes, etcd 3.4 may still think that it leads.
        (Break(FREEZE, "{etcd_leader}"),),
        Expect(STAYS, hold_s=25.0),
    ),
    scenario(
        "etcd-all-down",
        ("etcd 전체 정지", "All of etcd stands still"),
        ("주 서버는 그대로 서비스한다(failsafe)", "the primary goes on serving (failsafe); nothing moves"),
        (Break(STOP, "{etcd_hosts}:etcd"),),
        Expect(STAYS, hold_s=15.0, outage_s=2.0),
    ),
)

PROCESSES = (
    scenario(
        "postgres-killed",
        ("PostgreSQL 강제 종료", "PostgreSQL is killed"),
        ("제자리에서든 예비에서든 5초 안에 다시 선다", "back within 5 s, in place or at the in-site standby"),
        (Break(KILL, "{primary}:postgres"),),
        Expect(("{primary}", "{in_site_standby}"), takeovers=AT_MOST_ONE, insiders=STRAIGHT),
    ),
    scenario(
        "postgres-frozen",
        ("PostgreSQL 정지(응답 없음)", "PostgreSQL stands still"),
        ("같은 센터의 예비 서버가 5초 안에 이어받는다", "the in-site standby takes over within 5 s"),
        (Break(STOP, "{primary}:postgres"),),
        Expect(IN_SITE, takeovers=ONE, insiders=INSIDE, answers_held=True),
    ),
    scenario(
        "patroni-killed",
        ("Patroni 강제 종료", "Patroni is killed"),
        ("5초 안에 다시 서고 손실이 없다", "back within 5 s, in place or at the in-site standby"),
        (Break(KILL, "{primary}:patroni"),),
        Expect(("{primary}", "{in_site_standby}"), takeovers=AT_MOST_ONE, insiders=STRAIGHT),
    ),
    scenario(
        "patroni-frozen",
        ("Patroni 정지(응답 없음)", "Patroni stands still"),
        ("같은 센터의 예비 서버가 5초 안에 이어받는다", "the in-site standby takes over within 5 s"),
        (Break(STOP, "{primary}:patroni"),),
        Expect(IN_SITE, takeovers=ONE, insiders=INSIDE, hold_s=8.0),
    ),
    scenario(
        "host-frozen",
        ("주 서버가 40초 멈췄다 깨어남", "The primary's host stands still for 40 s and wakes"),
        (
            "예비 서버가 5초 안에 이어받고, 깨어난 서버는 아무것도 확인해 주지 않는다",
            "the in-site standby takes over within 5 s; the host that wakes acknowledges nothing",
        ),
        (Break(FREEZE, "{primary}"),),
        Expect(IN_SITE, takeovers=ONE, insiders=INSIDE, answers_held=True, hold_s=36.0),
    ),
    scenario(
        "clock-jump",
        ("백업 서버 시계가 5분 뜀", "The clock of the backup's database host jumps by 5 minutes"),
        ("아무것도 움직이지 않고 멈추지 않는다", "nothing moves, nothing stops"),
        # Not the primary: the fault starts the services of its host anew, which stops clients by itself.
        (Break("clock", "{backup_db}"),),
        Expect(STAYS, outage_s=2.0, hold_s=10.0),
    ),
)

DISKS = (
    scenario(
        "disk-full",
        ("주 서버 데이터 디스크 가득 참", "The primary's disk for data is full"),
        ("같은 센터의 예비 서버가 5초 안에 이어받는다", "the in-site standby takes over within 5 s"),
        (Break("disk-full", "{primary}"),),
        Expect(IN_SITE, takeovers=ONE, insiders=STRAIGHT),
    ),
    scenario(
        "disk-full-wal",
        ("주 서버 WAL 디스크 가득 참", "The primary's disk for WAL is full"),
        (
            "같은 센터의 예비 서버가 5초 안에 이어받고, 복구되면 모두 스스로 돌아온다",
            "the in-site standby takes over within 5 s; whole again by itself after the heal",
        ),
        # Longer than the others: so the old primary tries to come back while it has no room.
        (Break("disk-full-wal", "{primary}"),),
        Expect(IN_SITE, takeovers=ONE, insiders=STRAIGHT, hold_s=15.0),
    ),
    scenario(
        "disk-hang",
        ("주 서버 디스크가 멎음", "The primary's disk hangs"),
        ("같은 센터의 예비 서버가 5초 안에 이어받는다", "the in-site standby takes over within 5 s"),
        (Break("disk-hang", "{primary}"),),
        Expect(IN_SITE, takeovers=ONE, insiders=INSIDE),
    ),
    scenario(
        "slow-backup-disk",
        ("백업 디스크가 느림", "The backup's disk is slow"),
        (
            "확인이 5초 넘게 멈추지 않고, 느린 예비는 빠졌다가 복구되면 돌아오며, 그 구간이 기록된다",
            "no commit waits longer than 5 s; the standby leaves the sync set, is back after the heal, "
            "and the interval is recorded",
        ),
        (Break("disk-slow", "{backup_db}"),),
        Expect(STAYS, hold_s=20.0, leaves_sync=AT_BACKUP),
    ),
)

PLANNED = (
    scenario(
        "switchover",
        ("부하 중 계획 절체", "Planned switchover under load"),
        ("실패한 요청이 없고 1.5초를 넘는 요청이 없다", "no request fails, none takes longer than 1.5 s"),
        (Switchover("{backup_db}"),),
        Expect(
            AT_BACKUP,
            takeovers=ONE,
            outage_s=1.5,
            no_failed_request=True,
            slowest_request_s=1.5,
            hold_s=3.0,
        ),
    ),
    scenario(
        "switchover-candidate-dies",
        ("절체 중 후보 상실", "The candidate dies in the middle of the switchover"),
        ("주 센터에서 15초 안에 서비스가 선다", "the service is back at home within 15 s"),
        (
            Switchover("{backup_db}", wait=False),
            Break(POWER_CUT, "{backup_db}", IN_THE_HOLD_S, Once.HELD),
        ),
        Expect(("{primary}", "{in_site_standby}"), takeovers=(0, 3), outage_s=15.0, insiders=STRAIGHT),
    ),
    scenario(
        "switchover-new-primary-dies",
        ("절체 직후 새 주 서버 상실", "The new primary dies right after its promotion"),
        ("같은 센터의 예비 서버가 5초 안에 이어받는다", "the in-site standby takes over within 5 s"),
        (
            Switchover("{backup_db}", wait=False),
            Break(POWER_CUT, "{backup_db}", AFTER_THE_LOCK_S, Once.LOCKED),
        ),
        # A number may be left out (`mends.fresh_timeline`): two promotions raise it by two or three.
        Expect(IN_SITE, takeovers=(2, 3), insiders=STRAIGHT),
    ),
    scenario(
        "switchover-primary-dies",
        ("절체 중 주 서버 상실", "The old primary dies in the middle of the switchover"),
        ("남은 곳에서 10초 안에 서비스가 선다", "the service is back within 10 s"),
        (
            Switchover("{backup_db}", wait=False),
            Break(POWER_CUT, "{primary}", IN_THE_HOLD_S, Once.HELD),
        ),
        Expect(("{backup_db}", "{in_site_standby}"), takeovers=(1, 2), outage_s=10.0, insiders=STRAIGHT),
    ),
    scenario(
        "switchover-wan-cut",
        ("절체 중 회선 단절", "The WAN is cut in the middle of the switchover"),
        ("어느 쪽에서든 15초 안에 서비스가 선다", "the service is back within 15 s, at either site"),
        (
            Switchover("{backup_db}", wait=False),
            Break(PARTITION, "{home}-{backup}", IN_THE_HOLD_S, Once.HELD),
        ),
        Expect(
            ANYWHERE,
            takeovers=(0, 2),
            outage_s=15.0,
            no_way_in=("{home}", "{backup}"),
            hold_s=8.0,
            insiders=STRAIGHT,
        ),
    ),
    scenario(
        "switchover-command-killed",
        ("절체 중 절체 명령 강제 종료", "The switchover's command is killed in its middle"),
        (
            "풀러가 스스로 풀리고, 실패한 요청 없이 주 서버는 하나다",
            "the poolers let go by themselves, no request fails, and there is one primary",
        ),
        (
            Switchover("{backup_db}", wait=False),
            Break(KILL, "{primary}:switchover", IN_THE_HOLD_S, Once.HELD),
        ),
        Expect(
            ("{backup_db}", "{primary}"),
            takeovers=AT_MOST_ONE,
            no_failed_request=True,
            poolers_release_s=POOLERS_RELEASE_S,
            insiders=STRAIGHT,
        ),
    ),
    scenario(
        "switchover-controller-killed",
        ("절체 중 두 센터의 제어기 강제 종료", "The controllers of two sites are killed in the middle"),
        (
            "절체는 실패한 요청 없이 끝나고 풀러가 풀린다",
            "the switchover ends without a failed request, and the poolers let go",
        ),
        (
            Switchover("{backup_db}", wait=False),
            Break(KILL, "{db_hosts}:failover", AT_THE_HOLD_S, Once.HELD),
        ),
        Expect(
            AT_BACKUP,
            takeovers=ONE,
            no_failed_request=True,
            poolers_release_s=POOLERS_RELEASE_S,
            insiders=STRAIGHT,
        ),
    ),
)

MATRIX: dict[str, MatrixScenario] = {
    each.name: each for group in (LOSSES, NETWORK, DCS, PROCESSES, DISKS, PLANNED) for each in group
}
