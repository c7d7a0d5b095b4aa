"""What we use of pgparse, which brings no types of its own."""

from typing import Any

class PGQueryError(Exception):
    """The text is no SQL that PostgreSQL could read."""

def parse(statement: str) -> list[dict[str, Any]]:
    """PostgreSQL's own parse tree of each statement in the text."""
