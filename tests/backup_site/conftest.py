"""The time of one example says nothing on a busy computer."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("steady", deadline=None)
hypothesis.settings.load_profile("steady")
