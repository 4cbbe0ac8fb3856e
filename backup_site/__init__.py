"""What half capacity means: how much each application host carries.

May import: replication, hanbat.
"""
