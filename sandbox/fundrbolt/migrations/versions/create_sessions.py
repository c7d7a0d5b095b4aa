"""Create sessions."""

import sqlalchemy as sa
from alembic import op

revision = "8c52e6f0a1d3"
down_revision = "3f1c9a7d2b40"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )


def downgrade() -> None:
    """Drop the table, sessions included."""
    op.drop_table("sessions")
