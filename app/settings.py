"""Settings as data: type, default, range, unit and help in one place.

``Settings.from_environment`` reads them; ``describe`` prints them; a test fails for one without help.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


class SettingError(ValueError):
    """A setting is missing or out of range; the text names it and says what to write."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; ``low`` and ``high`` bound numbers, ``default=None`` means required."""

    name: str
    kind: type
    default: str | int | float | None
    help: str
    low: float | None = None
    high: float | None = None
    secret: bool = False

    @property
    def variable(self) -> str:
        return f"APP_{self.name.upper()}"

    def parse(self, text: str) -> str | int | float | bool:
        """The value of the text of the environment; SettingError when it is not allowed."""
        if self.kind is bool:
            if text not in ("0", "1"):
                raise SettingError(f"{self.variable} must be 0 or 1")
            return text == "1"
        if self.kind is str:
            return text
        try:
            value = self.kind(text)
        except ValueError as error:
            raise SettingError(f"{self.variable} must be a number, not {text!r}") from error
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:
            raise SettingError(f"{self.variable} must be within {self.low}-{self.high}, not {value}")
        return value


TABLE = (
    Setting("dsn", str, None, "libpq conninfo or URI of the service role (through the pooler)", secret=True),
    Setting("secret_key", str, None, "signs the pages' sessions; the same at every site", secret=True),
    Setting("pool_size", int, 16, "most connections of one worker process to the pooler", 1, 200),
    Setting("pool_wait_s", float, 3.0, "longest wait for a free connection, seconds", 0.1, 60),
    Setting("query_limit_s", float, 5.0, "longest time of all statements before COMMIT, seconds", 0.5, 60),
    Setting("commit_limit_s", float, 10.0, "longest wait for the answer to COMMIT, seconds", 0.5, 120),
    Setting("lock_limit_s", float, 3.0, "longest wait for a lock of the database, seconds", 0.1, 60),
    Setting("patience_s", float, 1.5, "how long what wrote nothing is tried again, seconds", 0, 10),
    Setting("ready_limit_s", float, 2.0, "longest time that /healthz/ready takes, seconds", 0.2, 10),
    Setting("session_idle_s", int, 1800, "idle time that ends a session of the pages, seconds", 30, 1800),
    Setting("cookie_secure", bool, 0, "1: the session cookie is sent over TLS only"),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The values of ``TABLE``; the names are the same."""

    dsn: str = field(repr=False)
    secret_key: str = field(repr=False)
    pool_size: int = 16
    pool_wait_s: float = 3.0
    query_limit_s: float = 5.0
    commit_limit_s: float = 10.0
    lock_limit_s: float = 3.0
    patience_s: float = 1.5
    ready_limit_s: float = 2.0
    session_idle_s: int = 1800
    cookie_secure: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read every setting from the environment; SettingError names what is missing."""
        env = os.environ if environment is None else environment
        values = {}
        for setting in TABLE:
            text = env.get(setting.variable)
            if text:
                values[setting.name] = setting.parse(text)
            elif setting.default is None:
                raise SettingError(f"{setting.variable} is not set: {setting.help}")
        return cls(**values)


def describe() -> str:
    """The settings as text, one a line."""
    return "\n".join(
        f"{s.variable:<22} {'required' if s.default is None else f'default {s.default}':<14} {s.help}"
        for s in TABLE
    )
