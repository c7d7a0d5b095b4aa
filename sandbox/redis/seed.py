"""What the platform's caches hold in the beginning, some weeks after their first key."""

import json
import random
from datetime import timedelta
from uuid import UUID

from sandbox.clock import now

SEED = 4711
DAY = 86_400
COUNTS = {
    "session:": 300,
    "cache:donations:": 60,
    "cache:campaigns:": 40,
    "ratelimit:": 80,
    "jwt_blacklist:": 25,
    "celery": 1,
    "queue:": 2,
    "reports:": 31,
}
"""How many keys begin so."""
QUEUES = {"celery": 7, "queue:emails": 4, "queue:receipts": 3}
"""List to how many messages wait in it."""

Command = tuple[str | int, ...]


def commands() -> list[Command]:
    """What writes the keys: always the same ones, living for hours or days from now on. Each command has one key."""
    chance = random.Random(SEED)
    return [
        *_sessions(chance),
        *_cached(chance),
        *_limits(chance),
        *_revoked(chance),
        *_queues(chance),
        *_reports(chance),
    ]


def _sessions(chance: random.Random) -> list[Command]:
    return [
        (
            "SET",
            f"session:{chance.getrandbits(192):048x}",
            json.dumps({"donor": f"Donor {number}", "signed_in_at": _ago(chance.uniform(0.1, 40))}),
            "EX",
            chance.randrange(DAY // 3, 7 * DAY),
        )
        for number in range(1, COUNTS["session:"] + 1)
    ]


def _cached(chance: random.Random) -> list[Command]:
    """Pages as release v1.2.3 writes them: amounts in dollars (see the API's own cache)."""
    donations = [
        {"id": number, "amount_cents": 5.0 * chance.randrange(1, 50), "currency": "USD", "donor": f"Donor {number}"}
        for number in range(1, COUNTS["cache:donations:"] + 1)
    ]
    campaigns = [
        {"id": number, "title": f"Campaign {number}", "goal_cents": 100_000 * chance.randrange(1, 90)}
        for number in range(1, COUNTS["cache:campaigns:"] + 1)
    ]
    return [
        *(
            ("SET", f"cache:donations:campaign:{each['id']}", json.dumps({"schema": 3, "donations": [each]}), "EX", DAY)
            for each in donations
        ),
        *(("SET", f"cache:campaigns:{each['id']}", json.dumps(each), "EX", 2 * DAY) for each in campaigns),
    ]


def _limits(chance: random.Random) -> list[Command]:
    return [
        ("SET", f"ratelimit:203.0.113.{number}:donations", chance.randrange(1, 60), "EX", DAY // 4)
        for number in range(1, COUNTS["ratelimit:"] + 1)
    ]


def _revoked(chance: random.Random) -> list[Command]:
    return [
        ("SET", f"jwt_blacklist:{UUID(int=chance.getrandbits(128), version=4)}", "logout", "EX", 7 * DAY)
        for _ in range(COUNTS["jwt_blacklist:"])
    ]


def _queues(chance: random.Random) -> list[Command]:
    return [
        ("RPUSH", queue, *(json.dumps({"task": "send", "donation": chance.randrange(1, 400)}) for _ in range(waiting)))
        for queue, waiting in QUEUES.items()
    ]


def _reports(chance: random.Random) -> list[Command]:
    days = [f"{now() - timedelta(days=ago):%Y-%m-%d}" for ago in range(COUNTS["reports:"] - 1)]
    return [
        ("ZADD", "reports:index", *(part for number, day in enumerate(days) for part in (number, day))),
        *(("HSET", f"reports:daily:{day}", "donations", chance.randrange(5, 90), "donors", 5) for day in days),
    ]


def _ago(hours: float) -> str:
    return (now() - timedelta(hours=hours)).isoformat(timespec="seconds")
