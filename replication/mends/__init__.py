"""What `replication.patroni_launcher` puts into Patroni: one idea a file, its name the idea.

Each replaces or wraps functions of Patroni 4.1, by way of `wrapping`, which checks first that a function is
the one that was read. Patroni itself is imported when they are put in, not before.

- The lock, and who takes it: `named_holder`, `held_back`, `offered_lock`, `shown_commit`, `stale_offer`,
  `fresh_lease`, `cleaned_beside`.
- The sync set, and when it is in force: `grown_set`, `in_force`, `exchanged_set`, `kept_set`, `steady_set`,
  `sync_swap`, `remote_sync`, `same_timeline`, `dragging` with `flush_watch`.
- A planned handover: `announced`, `gate`, `kept_offer`, `parting`, `kept_members`, `quick_handover`,
  `held_first`.
- Timelines, and a host that comes back: `fresh_timeline`, `joined_number`, `rewind_question`,
  `room_to_rewind`, `stray_wal`, `broken_clone`, `salvage_hook`.
- What Patroni asks, says and waits for: `etcd_home`, `told_restart`, `short_naps`.

May import: hanbat; of replication: `salvage`, `lsn`, `dcs`, and the modules beside these folders, but not the
launcher.
"""
