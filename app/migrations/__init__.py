"""Raw-SQL migrations, driven by alembic; ``run.migrate`` is what ``python -m app migrate`` calls."""
