"""Blackening secrets in text that other programs wrote, before it goes anywhere."""

import logging
import re
from collections.abc import Iterable

BLACK = "█████"
SHORTEST_SECRET = 6
"""Shorter values (`true`, `8080`) would blacken words that tell something."""

# A name is looked for from its beginning only: from each of its letters, a long word would take minutes.
_NAMES = r"(?<![\w-])[\w-]*(?:password|passwd|pwd|secret|token|api[_-]?key|account_?key|access_?key|\bsig)[\w-]*"
_PATTERNS = (
    re.compile(r"(?<=://)[^\s/@]+:[^\s/@]+(?=@)"),  # user:password of an address
    re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"),  # a JSON web token
    re.compile(r"\b(?:gh[opsur]_|github_pat_)\w{10,}"),  # a token of GitHub's
    re.compile(r"(?i)(?<=bearer )[\w.~+/=-]+"),
    re.compile(rf"(?i){_NAMES}[\"']?\s*[=:]\s*[\"']?[^\s\"'&;,]+"),
)


class Blackening(logging.Filter):
    """Blackens what a logger is told, for libraries that log addresses and headers whole."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through, without what looks like a secret."""
        record.msg, record.args = blacken(record.getMessage()), ()
        return True


def blacken(text: str, values: Iterable[str] = ()) -> str:
    """The text without the values that are known to be secret, and without what looks like one."""
    for value in sorted({value for value in values if len(value) >= SHORTEST_SECRET}, key=len, reverse=True):
        text = text.replace(value, BLACK)
    for pattern in _PATTERNS:
        text = pattern.sub(BLACK, text)
    return text
