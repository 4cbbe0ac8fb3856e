"""Importing Patroni sets the umask to 077 (`patroni/file_perm.py`); other tests must not see that."""

from __future__ import annotations

import os

import hypothesis

before = os.umask(0o022)
import patroni.file_perm  # noqa: E402, F401

os.umask(before)

# The time of one example says nothing on a busy computer.
hypothesis.settings.register_profile("steady", deadline=None)
hypothesis.settings.load_profile("steady")
