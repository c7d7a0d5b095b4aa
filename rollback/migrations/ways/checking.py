"""What is missing where alembic cannot even show a revision, told by its exit status and its words."""

from rollback.migrations.ways.shell import NO_CONFIGURATION, NO_FOLDER, NOT_EXECUTABLE, NOT_FOUND
from rollback.migrations.ways.way import Ended, WayUnfit


def require_found(ended: Ended, *, name: str, folder: str, command: str, revision: str) -> None:
    """Raise `WayUnfit` unless alembic showed the revision."""
    said = "\n".join(ended.tail)
    last = next((line for line in reversed(ended.tail) if line.strip()), "nothing")
    match ended.status:
        case 0:
            return
        case None:
            raise WayUnfit(f"The {name} was cut off while it was looked at.", remedy="Try again.")
        case code if code == NO_FOLDER:
            raise WayUnfit(f"The {name} has no folder '{folder}'.", remedy="Look at [migrations] folder and path.")
        case code if code == NO_CONFIGURATION:
            raise WayUnfit(
                f"The {name} has no alembic.ini in '{folder}'.", remedy="Look at [migrations] folder and path."
            )
        case code if code in {NOT_FOUND, NOT_EXECUTABLE}:
            raise WayUnfit(
                f"The {name} cannot run '{command}': {last}.",
                remedy="Name the program's whole path in [migrations] command: such a session seldom has the PATH of "
                "the image.",
            )
        case _ if "No module named" in said and "alembic" in last:
            raise WayUnfit(
                f"The {name} has no alembic for '{command}'.",
                remedy="Name the interpreter that has it in [migrations] command, or choose the other way.",
            )
        case _ if "Can't locate revision" in said or "No such revision" in said:
            raise WayUnfit(
                f"The {name} has no file of revision {revision}.",
                remedy="Only an image or release that contains the database's current revision can go down from it.",
            )
        case status:
            raise WayUnfit(
                f"The {name} cannot run alembic: it ended with status {status}, saying: {last}.",
                remedy="Run 'alembic show' there yourself to see all of it.",
            )
