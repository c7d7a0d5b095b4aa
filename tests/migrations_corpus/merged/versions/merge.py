"""Merge tips and donors."""

revision = "merge"
down_revision = ("add_tip", "find_donors")


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
