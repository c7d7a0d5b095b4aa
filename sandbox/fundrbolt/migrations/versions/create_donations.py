"""Create donations."""

import sqlalchemy as sa
from alembic import op

revision = "3f1c9a7d2b40"
down_revision = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "donations",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("amount_cents", sa.Integer, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("donor", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )


def downgrade() -> None:
    """Drop the table, donations included."""
    op.drop_table("donations")
