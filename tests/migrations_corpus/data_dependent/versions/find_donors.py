"""Find donors by an index; the way back looks at the rows first."""

import sqlalchemy as sa
from alembic import op

revision = "find_donors"
down_revision = "start"


def upgrade() -> None:
    op.create_index("donations_donor", "donations", ["donor"])


def downgrade() -> None:
    donors = op.get_bind().execute(sa.text("SELECT count(DISTINCT donor) FROM donations")).scalar_one()
    if donors < 1000:
        op.drop_index("donations_donor")
