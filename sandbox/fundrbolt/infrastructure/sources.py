"""What a release has below `infrastructure`: the Bicep files, their template, and production's parameters.

Release v1.2.3 is bad here too: it gives up on payments after a second, lets FTP in again and keeps keys without an
expiry when the cache is full. It also adds a storage account.
"""

import json
from functools import cache
from pathlib import Path

from sandbox.fundrbolt.releases import IMAGE, RELEASES

SOURCES = Path(__file__).parent
MODULE, TEMPLATE, PARAMETERS = "platform.bicep", "main.json", "production.parameters.json"
FILES = ("main.bicep", MODULE, TEMPLATE)
NEWEST, WORKER = "v1.2.3", "v1.2.2"
"""The release that the files are of, and the one that the background worker still runs then."""
DATABASE_SERVER = "fundrbolt-production-pg"
SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#"
EARLIER = {
    MODULE: (
        ("    PAYMENT_TIMEOUT_SECONDS: '1'\n", ""),
        ("ftpsState: 'FtpsOnly'", "ftpsState: 'Disabled'"),
        ("'maxmemory-policy': 'volatile-lru'", "'maxmemory-policy': 'allkeys-lru'"),
    ),
    TEMPLATE: (
        ('                "PAYMENT_TIMEOUT_SECONDS": "1",\n', ""),
        ('"ftpsState": "FtpsOnly"', '"ftpsState": "Disabled"'),
        ('"maxmemory-policy": "volatile-lru"', '"maxmemory-policy": "allkeys-lru"'),
    ),
}
"""What v1.2.3 says, and what earlier releases say instead."""
ADDED = {
    MODULE: ("// Receipts of donations", "output apiUrl"),
    TEMPLATE: (',\n            {\n              "type": "Microsoft.Storage/storageAccounts"', "\n          ],"),
}
"""Where the storage account begins, and what follows it."""


@cache
def sources_of(release: str) -> dict[str, bytes]:
    """What the release has below `infrastructure`, by path."""
    if release not in RELEASES:
        raise ValueError(f"there is no release {release!r}")
    texts = {name: (SOURCES / name).read_text() for name in FILES}
    if release != NEWEST:
        texts = {name: _earlier(name, text) for name, text in texts.items()}
    return {name: text.encode() for name, text in texts.items()} | {PARAMETERS: _parameters(release)}


def _earlier(name: str, text: str) -> str:
    for newest, before in EARLIER.get(name, ()):
        text = text.replace(newest, before)
    if name in ADDED:
        begin, follows = ADDED[name]
        start = text.index(begin)
        text = text[:start] + text[text.index(follows, start) :]
    return text


def _parameters(release: str) -> bytes:
    """Production's, without the secret ones: they are passed by whoever deploys."""
    images = {"image": release, "workerImage": min(release, WORKER)}
    values = {"location": "eastus", "databaseServer": DATABASE_SERVER}
    values |= {name: f"DOCKER|{IMAGE}@{RELEASES[each]}" for name, each in images.items()}
    file = {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": {name: {"value": value} for name, value in values.items()},
    }
    return f"{json.dumps(file, indent=2)}\n".encode()
