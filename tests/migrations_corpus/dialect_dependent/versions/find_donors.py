"""Find donors by an index, where there is a database worth it."""

from alembic import op

revision = "find_donors"
down_revision = "start"


def upgrade() -> None:
    op.create_index("donations_donor", "donations", ["donor"])


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("donations_donor")
