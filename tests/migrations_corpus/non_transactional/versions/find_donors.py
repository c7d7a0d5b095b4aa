"""Find donors by an index, made without locking the table."""

from alembic import op

revision = "find_donors"
down_revision = "start"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.create_index("donations_donor", "donations", ["donor"], postgresql_concurrently=True)


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.drop_index("donations_donor", postgresql_concurrently=True)
