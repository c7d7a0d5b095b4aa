"""A certificate is found again for exactly what was rehearsed, and says in one line what came of it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rollback.migrations.certificates import Certificate, Certificates
from rollback.migrations.locking import HeldLock

KEY = {"current": "e2a8c40b7f15", "target": "d95a3b1e7f08", "scripts": "5c", "schema": "5e"}


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path, "production")


def certificate(**fields: object) -> Certificate:
    known = {
        "current": KEY["current"],
        "target": KEY["target"],
        "scripts": KEY["scripts"],
        "rehearsed_at": datetime(2026, 3, 1, 10, 2, tzinfo=UTC),
        "run": "0123abcd",
        "seconds": 1.24,
        "locks": (HeldLock(relation="public.donations", mode="AccessExclusiveLock", seconds=0.31),),
        "schema_before": KEY["schema"],
        "schema_then": "7e",
        "problems": (),
        "found_lost": ("public.donations.tip_cents",),
    }
    return Certificate.model_validate({**known, **fields})


def test_it_is_found_for_exactly_these_revisions_on_this_schema(certificates: Certificates) -> None:
    certificates.keep(certificate())
    assert certificates.find(**KEY) == certificate()
    for name in KEY:
        assert certificates.find(**{**KEY, name: "0"}) is None


def test_a_later_one_stands_for_an_earlier_one(certificates: Certificates) -> None:
    certificates.keep(certificate())
    certificates.keep(certificate(run="later"))
    found = certificates.find(**KEY)
    assert found is not None
    assert found.run == "later"


def test_a_damaged_one_is_none(certificates: Certificates, tmp_path: Path) -> None:
    certificates.keep(certificate())
    for file in tmp_path.rglob("*.json"):
        file.write_text(file.read_text()[:-30])
    assert certificates.find(**KEY) is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {},
            "down, up and down again went well; 1.2 s down; longest lock 0.3 s on public.donations "
            "(AccessExclusiveLock); really lost: public.donations.tip_cents; 2026-03-01 10:02 UTC by run 0123abcd",
        ),
        (
            {"locks": (), "found_lost": (), "unread": ("public.audit",), "problems": ("one", "another")},
            "PROBLEMS: one; another; 1.2 s down; no lock was held long enough to be seen; really lost: nothing, "
            "unknown for public.audit; 2026-03-01 10:02 UTC by run 0123abcd",
        ),
    ],
)
def test_it_tells_what_came_of_it(fields: dict[str, object], words: str) -> None:
    assert certificate(**fields).words == words
