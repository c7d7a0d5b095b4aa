"""Find donors by an index, in the tenant's schema."""

import os

from alembic import op

revision = "find_donors"
down_revision = "start"
SCHEMA = os.environ.get("TENANT_SCHEMA")


def upgrade() -> None:
    op.create_index("donations_donor", "donations", ["donor"], schema=SCHEMA)


def downgrade() -> None:
    op.drop_index("donations_donor", schema=SCHEMA)
