"""alembic's environment: it uses the connection and the transaction that ``run.migrate`` hands over."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    version_table="schema_version",
    version_table_schema="procurement",
    transactional_ddl=True,
)
context.run_migrations()
