"""The schema of the sample API's PostgreSQL database, as alembic's revisions."""
