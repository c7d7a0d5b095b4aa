"""The same, but nobody thought of the transaction on the way back."""

from alembic import op

revision = "find_donors"
down_revision = "start"


def upgrade() -> None:
    op.create_index("donations_donor", "donations", ["donor"])


def downgrade() -> None:
    op.execute("DROP INDEX CONCURRENTLY donations_donor")
