"""Run by Alembic: use the connection that ``backend.store.migrate`` opened, inside its transaction."""

from alembic import context

from backend.store.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
