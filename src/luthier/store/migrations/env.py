"""Alembic's entry: migrates over the connection that ``store.database.migrate`` hands in."""

from alembic import context

from luthier.store.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
