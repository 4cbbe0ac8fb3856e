"""Observe, plan, act: the part that decides that another host becomes primary, and makes it so.

The argument why a takeover is safe without power fencing is `docs/adr/0005-replication-is-the-fence.md`.
Read the modules in this order; each holds one idea:

- `view`: what a controller knows at one moment, frozen. Time is data in it, as ages and durations.
- `freshness`: how a controller ages what others published, by its own clock only.
- `policy`: what an operator sets: window, limits, and who decides about each kind of move.
- `votes`: many observers, one vote a site.
- `candidates`: who could take over, in which order.
- `block`: how long after an operation the next one waits, so that the primary does not move to and fro.
- `guards`: the conditions of a takeover, one small function each: holds, fails or unknown.
- `table`: which guard leads to which action in which phase: numbered rows, checked when imported.
- `planner`: `plan(view)` walks the table. Pure: no I/O, no clock, no randomness.
- `transaction`: the etcd transactions as data.
- `commands`, `executor`: what a plan asks for, and carrying it out. Every command is safe twice.
- `decision_support`: what a person is told when the proof does not hold.

Around that core, what touches the world:

- `probe_sql`, `streaks`: one question to one host; many of them as "unreachable for 1.7 s without a break".
- `probe_lines`: the connections of an observer to one host: a lost packet is not a silent host.
- `canary`: a primary that answers and cannot write, because its disk hangs or is full.
- `publication`, `observer`: what an observer writes to etcd under its lease, and its threads.
- `etcd_json`, `etcd_dcs`: the HTTP gateway of etcd; bounded, and nothing is sent twice that may have acted.
- `patroni_keys`, `assembly`: from one snapshot of etcd to the planner's view.
- `planned_restart`: a primary that its own Patroni restarts is waited for, 3 s at most.
- `probe_patroni`, `probe_edge`, `clients_way`, `bounded_http`: gray failures, and the way that clients take.
- `probe_member`, `dcs_members`: each member of etcd, as it is seen.
- `effects`, `config`, `service`, `service_manager`, `render`, `advisor`, `figures`: the process
  `hanbat-failover` and its files.
- `meeting`: which hosts this controller has met since it sees etcd; only those can be missed.
- `status`, `status_cli`, `looker`: `hanbat status`; `readiness`: who would be left to move the primary.
- `preflight`, `replay`, `switchover`, `switchover_means`, `switchover_cli`, `handover`: the planned way.
- `gatekeeper`, `gatekeeper_service`, `etcd_watch`, `haproxy_socket`, `pooler_console`: beside the poolers.
- `approvals`, `manual`, `decided`, `failover_cli`: a person decides.
- `hold`, `hold_cli`: a person asks the controllers to keep still.
- `dead_apps`: which requests stand at application hosts that are gone.

`tests/simulation` runs this planner and this executor against models of etcd, Patroni and PostgreSQL.
May import: `hanbat`, `replication`, `backup_site`, `primary`.
"""
