"""How data gets from site to site: PostgreSQL, Patroni and etcd, protection modes, the LSN ring and RPO.

What is replaced in Patroni, one idea a file, put in by `patroni_launcher`: `named_holder`, `kept_set`,
`held_back`, `same_timeline`, `dragging`, `shown_commit`, `quick_handover`, `offered_lock`, `cleaned_beside`,
`kept_offer`, `announced`, `gate`, `parting`, `kept_members`, `fresh_timeline`, `fresh_lease`, `short_naps`,
`etcd_home`, `rewind_question`, `stale_offer`, `grown_set`, `in_force`, `exchanged_set`, `steady_set`,
`sync_swap`, `joined_number`, `remote_sync`, `told_restart`, `room_to_rewind`, `stray_wal`, `salvage_hook`.
Each is put in by `wrapping`, which checks first that the function is the one that was read.

May import: hanbat.
"""
