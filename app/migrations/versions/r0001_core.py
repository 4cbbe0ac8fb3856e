"""The core: parties, tenders, bids, openings, awards, contracts, payments, canary, idempotency."""

from importlib.resources import files

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table; facts are append-only from the first row on."""
    sql = files("app.migrations.versions").joinpath("r0001_core.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(sql.replace("%", "%%"))


def downgrade() -> None:
    """There is no way back: records are kept five years (procurement.md, E-bid)."""
    raise NotImplementedError("facts are never dropped")
