"""What another program writes: its last lines kept, in little memory however much it is, and without secrets."""

import json
import re
from collections import deque
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus

from rollback.redaction import BLACK, SHORTEST_SECRET, blacken

KEPT_LINES = 200
LINE_CHARACTERS = 2000
LINE_BYTES = 4 * LINE_CHARACTERS
"""What of one line is kept until it is shown: a character has four bytes at most."""
TOLD_LINES = 1000
"""Lines that are told as they come; a journal must not grow with what a program writes."""
FLOOD = f"(after {TOLD_LINES} lines only the last {KEPT_LINES} are kept)"

OnLine = Callable[[str], None]
"""Is told a line of a program's output, without secrets."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Output:
    """Takes a program's output in pieces; every line that leaves it has passed the redaction."""

    def __init__(self, on_line: OnLine = lambda _: None, secrets: Iterable[str] = ()) -> None:
        self._on_line = on_line
        self._secrets = sorted({each for each in secrets if each}, key=len, reverse=True)
        self._secret_bytes = [each.encode() for each in self._secrets]
        self._kept: deque[bytes] = deque(maxlen=KEPT_LINES)
        self._line = bytearray()
        self._told = 0

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines, the one that has not ended yet included."""
        lines = [*self._kept, bytes(self._line)] if self._line else [*self._kept]
        return tuple(self._show(line) for line in lines[-KEPT_LINES:])

    def feed(self, piece: bytes) -> None:
        """Take the next piece, wherever it was cut."""
        *ended, rest = piece.split(b"\n")
        for part in ended:
            self._append(part)
            self._end_line()
        self._append(rest)

    def end(self) -> None:
        """Take what is there as the last line."""
        if self._line:
            self._end_line()

    def _append(self, part: bytes) -> None:
        # One more than is kept tells a line that was cut.
        self._line += part[: max(0, LINE_BYTES + 1 - len(self._line))]

    def _end_line(self) -> None:
        line = bytes(self._line)
        self._line.clear()
        self._kept.append(line)
        if self._told < TOLD_LINES:
            self._on_line(self._show(line))
        elif self._told == TOLD_LINES:
            self._on_line(FLOOD)
        self._told += 1

    def _show(self, line: bytes) -> str:
        if len(line) > LINE_BYTES:
            line = self._without_begun_secret(line[:LINE_BYTES])
        # Known values first, and then the cut: cut first, a part of one would no longer be recognised.
        text = line.decode(errors="replace")
        for secret in self._secrets:
            text = _without(text, secret)
        return blacken(_CONTROL.sub("", text)[:LINE_CHARACTERS])

    def _without_begun_secret(self, line: bytes) -> bytes:
        """A line that was cut, without a secret's beginning at its end."""
        begun = (
            length
            for secret in self._secret_bytes
            for length in range(len(secret) - 1, 0, -1)
            if line.endswith(secret[:length])
        )
        return line[: len(line) - max(begun, default=0)]


def _without(text: str, secret: str) -> str:
    """The text with the secret blackened; a short one, which every other word holds, only where it stands alone."""
    if len(secret) >= SHORTEST_SECRET:
        return text.replace(secret, BLACK)
    return re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", BLACK, text)


def written_forms(secrets: Iterable[str]) -> tuple[str, ...]:
    """Every form in which programs write these values: escaped or not, in addresses, and line by line."""
    forms = set(secrets)
    # Percent signs are doubled in ini files; tracebacks show values as literals, and JSON logs as JSON.
    escaped = {each.replace("%", "%%") for each in forms}
    escaped |= {repr(each)[1:-1] for each in forms} | {ascii(each)[1:-1] for each in forms}
    escaped |= {json.dumps(each, ensure_ascii=only)[1:-1] for each in forms for only in (True, False)}
    escaped |= {quote(each, safe="") for each in forms} | {quote_plus(each) for each in forms} | set(map(quote, forms))
    return tuple(sorted({line for form in forms | escaped for line in form.splitlines() if line}))
