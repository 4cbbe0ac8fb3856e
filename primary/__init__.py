"""What a site runs for the application, and the base of every machine: edge, pooler, application, units.

May import: backup_site, replication, hanbat.
"""
