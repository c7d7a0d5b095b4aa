"""Addresses in settings: refused where a probe could not use them."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator


def _https(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.query:
        raise ValueError("must be an https address without a query")
    return url.rstrip("/")


def _path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("must start with /")
    return path


HttpsUrl = Annotated[str, AfterValidator(_https)]
UrlPath = Annotated[str, AfterValidator(_path)]
