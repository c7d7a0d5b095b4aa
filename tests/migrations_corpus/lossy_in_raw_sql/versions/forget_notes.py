"""Notes move to a table of their own, from which the way back does not fetch them."""

from alembic import op

revision = "forget_notes"
down_revision = "start"


def upgrade() -> None:
    op.execute("CREATE TABLE notes AS SELECT id, note FROM donations WHERE note IS NOT NULL")
    op.execute("ALTER TABLE donations DROP note")


def downgrade() -> None:
    op.execute(
        "ALTER TABLE donations ADD COLUMN note varchar(40); DELETE FROM notes; DROP TABLE IF EXISTS public.notes"
    )
