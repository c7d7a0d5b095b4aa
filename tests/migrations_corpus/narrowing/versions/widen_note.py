"""Notes of any length, and amounts beyond 21 million."""

import sqlalchemy as sa
from alembic import op

revision = "widen_note"
down_revision = "start"


def upgrade() -> None:
    op.alter_column("donations", "note", type_=sa.Text)
    op.alter_column("donations", "amount_cents", type_=sa.BigInteger)


def downgrade() -> None:
    op.execute("ALTER TABLE donations ALTER note TYPE varchar(40) USING left(note, 40)")
    op.alter_column("donations", "amount_cents", type_=sa.Integer)
