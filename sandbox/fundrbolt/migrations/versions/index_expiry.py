"""Find expired sessions by an index: v1.2.2 cleans them away."""

from alembic import op

revision = "d95a3b1e7f08"
down_revision = "b7d04e9f6c21"


def upgrade() -> None:
    """Add the index."""
    op.create_index("sessions_expires_at", "sessions", ["expires_at"])


def downgrade() -> None:
    """Drop the index."""
    op.drop_index("sessions_expires_at")
