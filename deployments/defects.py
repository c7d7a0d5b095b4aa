"""What is kept of a defect: its traceback, in a file, for whoever mends it."""

import os
import tempfile
import traceback
from pathlib import Path
from types import TracebackType


def keep_details(error: BaseException, trace: TracebackType | None) -> str:
    """Write the traceback to a private file; returns where it is, in words."""
    text = "".join(traceback.format_exception(type(error), error, trace))
    try:
        descriptor, name = tempfile.mkstemp(prefix="rollback-defect-", suffix=".txt", dir=_folder())
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        return f"Its details could not be kept:\n{text}"
    return f"Its details are in {name}."


def _folder() -> Path | None:
    state = os.environ.get("ROLLBACK_STATE", "")
    return Path(state) if state and Path(state).is_dir() else None
