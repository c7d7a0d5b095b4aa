"""The functions that need nothing but their arguments."""

from sandbox.templates.functions import collections, dates, numbers, texts
from sandbox.templates.functions.signature import Builtin

PURE: dict[str, Builtin] = {
    made.name.lower(): made for made in (*texts.FUNCTIONS, *numbers.FUNCTIONS, *collections.FUNCTIONS, *dates.FUNCTIONS)
}
"""By name, lower case. *Source:* learn.microsoft.com, "ARM template functions"."""
