"""Schema migrations: what alembic's revisions do, where they are run, and what was lost or held by them."""
