"""The database URL that an app reads from its secret: taken apart, and pointed at another host.

Everything but the host stays byte for byte: a password that is encoded again is a password that may be wrong.
"""

import re
from typing import Self
from urllib.parse import parse_qsl, quote, unquote

from pydantic import SecretStr

from rollback.models import Model
from rollback.postgres.errors import DatabaseUrlInvalid

_URL = re.compile(
    r"""(?P<before>\s*(?P<scheme>postgres(?:ql)?(?:\+\w+)?)://(?:(?P<user>[^:@/?\#\s]*)(?::(?P<password>[^@/?\#\s]*))?@)?)
    (?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:@/?\#,\s]*)
    (?P<after>(?::(?P<port>\d*))?/(?P<database>[^/@?\#\s]*)(?:\?(?P<options>[^\#\s]*))?\s*)""",
    re.VERBOSE,
)
_PLACE_OPTIONS = frozenset({"host", "hostaddr", "port", "dbname", "service", "user", "password"})
"""Options that override what stands before the question mark, so that changing the host would change nothing."""

_REMEDY = "Store it as postgresql://user:password@host:5432/database?options, with the password percent-encoded."


class DatabaseUrl(Model):
    """A database URL; its password shows in no representation and no serialisation."""

    user: str
    password: SecretStr
    host: str
    """Without the brackets of an IPv6 address."""
    port: int
    database: str
    text: SecretStr
    """The whole URL as it is in the secret."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Take a secret's value apart; raises `DatabaseUrlInvalid`, which never quotes it."""
        match = _URL.fullmatch(text)
        if match is None:
            raise DatabaseUrlInvalid(_why_not(text), remedy=_REMEDY)
        named = {name for name, _ in parse_qsl(match["options"] or "", keep_blank_values=True)} & _PLACE_OPTIONS
        if named:
            raise DatabaseUrlInvalid(
                f"The database URL sets {', '.join(sorted(named))} among its options.", remedy=_REMEDY
            )
        if not match["host"] or not match["user"] or not match["database"]:
            raise DatabaseUrlInvalid("The database URL lacks its host, user or database.", remedy=_REMEDY)
        return cls(
            user=unquote(match["user"]),
            password=SecretStr(unquote(match["password"] or "")),
            host=match["host"].strip("[]"),
            port=int(match["port"] or 5432),
            database=unquote(match["database"]),
            text=SecretStr(text),
        )

    def with_host(self, host: str) -> Self:
        """The same URL with another host, and nothing else changed."""
        match = _URL.fullmatch(self.text.get_secret_value())
        if match is None:
            raise DatabaseUrlInvalid("The database URL cannot be taken apart.", remedy=_REMEDY)
        place = f"[{host}]" if ":" in host else host
        return self.parse(match["before"] + place + match["after"])

    def with_database(self, database: str) -> Self:
        """The same URL with another database of the same server, and nothing else changed."""
        text = self.text.get_secret_value()
        match = _URL.fullmatch(text)
        if match is None:
            raise DatabaseUrlInvalid("The database URL cannot be taken apart.", remedy=_REMEDY)
        return self.parse(text[: match.start("database")] + quote(database, safe="") + text[match.end("database") :])


def _why_not(text: str) -> str:
    """What a value is instead of a database URL, without a word of it."""
    if re.search(r"(?:^|\s)(?:host|dbname|user)\s*=", text) and "://" not in text:
        return "The secret holds a keyword connection string (host=… dbname=…), not a database URL."
    if not re.match(r"\s*postgres(?:ql)?(?:\+\w+)?://", text):
        return "The secret does not hold a PostgreSQL database URL."
    authority = text.partition("://")[2]
    if authority.count("@") > 1:
        return "The database URL has more than one '@': one in a password must be written %40."
    if "," in authority.rpartition("@")[2].partition("/")[0]:
        return "The database URL names several hosts."
    return "The database URL cannot be taken apart."
