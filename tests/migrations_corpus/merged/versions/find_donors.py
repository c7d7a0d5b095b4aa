"""Find donors by an index."""

from alembic import op

revision = "find_donors"
down_revision = "start"


def upgrade() -> None:
    op.create_index("donations_donor", "donations", ["donor"])


def downgrade() -> None:
    op.drop_index("donations_donor")
