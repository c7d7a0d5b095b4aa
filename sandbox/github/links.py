"""Links that need no token: signed, for one file, for a few minutes; GitHub's blob storage honours nothing else."""

import hmac
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from sandbox.clock import now

LASTS = timedelta(minutes=5)
FORMAT = "%Y-%m-%dT%H:%M:%SZ"
VERSION = "2018-11-09"


def link(seed: str, host: str, path: str, name: str = "", kind: str = "application/octet-stream") -> str:
    """A link to `path`; `name` is what a browser would call the file."""
    query = {"se": (now() + LASTS).strftime(FORMAT), "sp": "r", "spr": "https", "sr": "b", "sv": VERSION}
    if name:
        query |= {"rscd": f"attachment; filename={name}"}
    query |= {"rsct": kind}
    return f"https://{host}{path}?{urlencode(query | {'sig': _signature(seed, host, path, query)})}"


def refusal(seed: str, host: str, path: str, query: Mapping[str, str]) -> str:
    """Why a link is not honoured, in the words of blob storage; empty for one that is."""
    signed = {key: value for key, value in query.items() if key != "sig"}
    if not hmac.compare_digest(query.get("sig", "").encode(), _signature(seed, host, path, signed).encode()):
        return "Signature did not match."
    ends = datetime.strptime(query["se"], FORMAT).replace(tzinfo=UTC)
    if ends < now():
        return f"Signature not valid in the specified time frame: Expiry [{ends:%a, %d %b %Y %H:%M:%S} GMT]"
    return ""


def _signature(seed: str, host: str, path: str, query: Mapping[str, str]) -> str:
    words = "\n".join([host, path, *(f"{key}={value}" for key, value in sorted(query.items()))])
    return b64encode(hmac.new(seed.encode(), words.encode(), "sha256").digest()).decode()
