"""``python -m app migrate`` brings the schema up to date; ``python -m app settings`` prints the settings."""

from __future__ import annotations

import os
import sys

from sqlalchemy.exc import DBAPIError

from app.migrations.run import MigrationError, migrate
from app.settings import describe

USAGE = """usage: python -m app migrate | settings

migrate reads APP_OWNER_DSN (required), APP_SERVICE_ROLE (default procurement_app), APP_OPERATOR_KEY and
APP_OBSERVER_ROLE (a role that may read when tenders close; default none).
"""


def main(arguments: list[str]) -> int:
    """Exit status: 0 done, 1 failed and nothing changed, 2 usage."""
    if arguments == ["settings"]:
        print(describe())
        return 0
    if arguments != ["migrate"] or not os.environ.get("APP_OWNER_DSN"):
        print(USAGE, file=sys.stderr)
        return 2
    try:
        migrate(
            os.environ["APP_OWNER_DSN"],
            service_role=os.environ.get("APP_SERVICE_ROLE", "procurement_app"),
            operator_key=os.environ.get("APP_OPERATOR_KEY") or None,
            observer_role=os.environ.get("APP_OBSERVER_ROLE") or None,
        )
    except (MigrationError, DBAPIError) as error:
        print(f"ERROR: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        return 1
    print("migrate: the schema is up to date", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
