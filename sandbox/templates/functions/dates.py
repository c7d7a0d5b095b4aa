"""Functions on instants.

*Source:* learn.microsoft.com, "Date functions for ARM templates".
"""

import re
from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter, ValidationError

from sandbox.templates.errors import UnsupportedError
from sandbox.templates.functions.signature import TEXT, Builtin, failed

DURATION = TypeAdapter(timedelta)
"""ISO 8601; a year has 365 days and a month 30, as for Azure."""
COMPACT, UNIVERSAL = "yyyyMMddTHHmmssZ", "u"
PARTS = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S", "T": "T", "Z": "Z"}
RUN = re.compile(r"([A-Za-z%])\1*")


def written(instant: datetime, form: str) -> str:
    """An instant in one of .NET's formats: of parts of two or four digits, or the universal sortable one."""
    if form == UNIVERSAL:
        return f"{instant:%Y-%m-%d %H:%M:%SZ}"
    if any(run[0] not in PARTS for run in RUN.finditer(form)):
        raise UnsupportedError(f"The date format '{form}'")
    return instant.strftime(RUN.sub(lambda run: PARTS[run[0]], form))


def _date_time_add(base: str, duration: str, form: str = UNIVERSAL) -> str:
    text = re.sub(r"^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$", r"\1-\2-\3T\4:\5:\6Z", base)
    try:
        instant = datetime.fromisoformat(text)
        moved = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)) + DURATION.validate_python(duration)
    except (ValueError, ValidationError) as error:
        raise failed("dateTimeAdd", "expects an ISO 8601 date and an ISO 8601 duration.") from error
    return written(moved.astimezone(UTC), form)


FUNCTIONS = (Builtin("dateTimeAdd", _date_time_add, (TEXT, TEXT, TEXT), least=2),)
