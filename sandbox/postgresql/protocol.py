"""PostgreSQL's wire protocol, as far as the front must read and write it: the start of a connection."""

import struct
from asyncio import StreamReader
from dataclasses import dataclass

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
VERSION_3 = 3
CLEARTEXT_PASSWORD = b"R" + struct.pack("!II", 8, 3)
MOST_STARTUP_BYTES, MOST_PASSWORD_BYTES = 10_000, 65_536
"""As much as PostgreSQL itself takes."""


class ProtocolError(Exception):
    """What came is no beginning of a connection."""


@dataclass(frozen=True)
class Startup:
    """The first packet: a request for encryption, a cancellation, or who wants to connect to what."""

    code: int
    raw: bytes
    """The whole packet."""

    @property
    def options(self) -> dict[str, str]:
        """`user`, `database` and the rest."""
        words = self.raw[8:].split(b"\0")
        pairs = zip(words[::2], words[1::2], strict=False)
        return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in pairs if name}

    @property
    def user(self) -> str:
        """The role."""
        return self.options.get("user", "")

    @property
    def database(self) -> str:
        """The database: by default the one that is called as the role."""
        return self.options.get("database", self.user)


async def read_startup(reader: StreamReader) -> Startup:
    """The first packet of a connection; `IncompleteReadError` if the client ended it."""
    head = await reader.readexactly(8)
    length, code = struct.unpack("!II", head)
    if not 8 <= length <= MOST_STARTUP_BYTES:
        raise ProtocolError
    return Startup(code, head + await reader.readexactly(length - 8))


async def read_message(reader: StreamReader) -> tuple[bytes, bytes]:
    """Type and content of a message."""
    kind, length = struct.unpack("!cI", await reader.readexactly(5))
    if not 4 <= length <= MOST_PASSWORD_BYTES:
        raise ProtocolError
    return kind, await reader.readexactly(length - 4)


def password_message(password: str) -> bytes:
    """A client's answer to `CLEARTEXT_PASSWORD`."""
    content = password.encode() + b"\0"
    return b"p" + struct.pack("!I", 4 + len(content)) + content


def fatal(code: str, message: str) -> bytes:
    """An error that ends the connection."""
    fields = {"S": "FATAL", "V": "FATAL", "C": code, "M": message}
    content = b"".join(key.encode() + value.encode() + b"\0" for key, value in fields.items()) + b"\0"
    return b"E" + struct.pack("!I", 4 + len(content)) + content
