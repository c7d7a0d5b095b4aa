"""Drop the currency: everybody gives in dollars."""

from alembic import op

revision = "drop_currency"
down_revision = "start"


def upgrade() -> None:
    op.drop_column("donations", "currency")


def downgrade() -> None:
    raise NotImplementedError("the currencies are gone")
