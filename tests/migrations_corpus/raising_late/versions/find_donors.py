"""Find donors by an index, of which only a part is taken back."""

from alembic import op

revision = "find_donors"
down_revision = "start"


def upgrade() -> None:
    op.create_index("donations_donor", "donations", ["donor"])


def downgrade() -> None:
    op.drop_index("donations_donor")
    raise RuntimeError("ask the database team, password=correct-horse")
