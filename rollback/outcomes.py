"""The named states in which everything ends, each with its exit status."""

from enum import StrEnum


class EndState(StrEnum):
    """How a procedure ended; the value is what people read."""

    PLANNED = "planned"
    ROLLED_BACK = "rolled back"
    ALREADY_THERE = "already there"
    NOT_VERIFIED = "rolled back, not verified"
    REFUSED = "refused"
    NOTHING_CHANGED = "failed, nothing changed"
    PART_WAY = "failed part-way"
    OUTCOME_UNKNOWN = "outcome unknown"
    CANCELLED = "cancelled"
    DEPLOYED = "deployed"
    DEPLOYED_NOT_VERIFIED = "deployed, not verified"
    RESTORED = "restored"
    RESTORED_NOT_VERIFIED = "restored, not verified"
    DOWNGRADED = "downgraded"
    DOWNGRADED_NOT_VERIFIED = "downgraded, not verified"
    CLEARED = "cleared"
    CLEARED_NOT_VERIFIED = "cleared, not verified"
    ARCHIVED = "archived"
    ARCHIVED_NOT_ALL = "archived, not all"
    TAKEN_BACK = "taken back"
    """Found bad after it was put in place: users get what they got before."""

    @property
    def exit_status(self) -> int:
        """The command's exit status: 0 where what was asked for is true, one of its own for every other state."""
        return EXIT_STATUS[self]

    @property
    def succeeded(self) -> bool:
        """Whether what was asked for is true and proven."""
        return self.exit_status == 0


# 1 is left to crashes of the interpreter and 2 to wrong usage of the command line, as shells expect.
EXIT_STATUS: dict[EndState, int] = {
    EndState.PLANNED: 0,
    EndState.ROLLED_BACK: 0,
    EndState.ALREADY_THERE: 0,
    EndState.NOT_VERIFIED: 3,
    EndState.REFUSED: 4,
    EndState.NOTHING_CHANGED: 5,
    EndState.PART_WAY: 6,
    EndState.OUTCOME_UNKNOWN: 7,
    EndState.DEPLOYED: 0,
    EndState.DEPLOYED_NOT_VERIFIED: 3,
    EndState.RESTORED: 0,
    EndState.RESTORED_NOT_VERIFIED: 3,
    EndState.DOWNGRADED: 0,
    EndState.DOWNGRADED_NOT_VERIFIED: 3,
    EndState.CLEARED: 0,
    EndState.CLEARED_NOT_VERIFIED: 3,
    EndState.ARCHIVED: 0,
    EndState.ARCHIVED_NOT_ALL: 3,
    EndState.TAKEN_BACK: 8,
    EndState.CANCELLED: 130,
}
