"""Find donors by an index; amounts are positive."""

from alembic import op

revision = "find_donors"
down_revision = "start"


def upgrade() -> None:
    op.create_index("donations_donor", "donations", ["donor"])
    op.create_check_constraint("amount_positive", "donations", "amount_cents > 0")


def downgrade() -> None:
    op.drop_constraint("amount_positive", "donations")
    op.drop_index("donations_donor")
