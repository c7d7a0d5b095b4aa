"""Which release can use which schema, and what is told where it cannot: the table that the planners stand on."""

import pytest

from rollback.compatibility import Current, Fit, SchemaFit, check_still_holds, judge
from rollback.errors import PlanIsStale, TargetUnfit
from rollback.releases import Build, Manifest

CHAIN = ("a1", "b2", "c3", "d4", "e5")


def release(
    digit: str, head: str, oldest: str | None = None, newest: str | None = None, upto: int = 5
) -> dict[str, object]:
    return {
        "image_digest": f"sha256:{digit * 64}",
        "alembic_head": head,
        "oldest_schema": oldest,
        "newest_schema": newest,
        "schemas": CHAIN[:upto],
    }


MANIFEST = Manifest.model_validate(
    {
        "releases": {
            "v1": release("1", "c3", "c3", "d4", upto=4),
            "v2": release("2", "d4", "d4", "e5"),
            "v3": release("3", "e5", "d4", "e5"),
            "strict": release("4", "e5", "e5", "e5"),
            "head-only": {"image_digest": f"sha256:{'5' * 64}", "alembic_head": "c3"},
            "mute": {"image_digest": f"sha256:{'6' * 64}"},
        }
    }
)


def build(name: str | None) -> Build:
    known = MANIFEST.releases.get(name or "")
    return Build(image="ghcr.io/o/app", digest=known.image_digest if known else f"sha256:{'f' * 64}", release=name)


def at(*revisions: str) -> Current:
    return Current(revisions=revisions)


@pytest.mark.parametrize(
    ("target", "current", "fit", "words"),
    [
        ("v2", at("e5"), Fit.FITS, "v2 runs on e5"),
        ("v2", at("d4"), Fit.FITS, "v2 runs on d4"),
        ("v1", at("c3"), Fit.FITS, "v1 runs on c3"),
        ("head-only", at("c3"), Fit.FITS, "head-only runs on c3"),
        ("v1", at("e5"), Fit.UNFIT, "The database is at e5; v1 runs on c3 to d4."),
        ("v2", at("a1"), Fit.UNFIT, "The database is at a1; v2 runs on d4 to e5."),
        ("v1", at("b2"), Fit.UNFIT, "v1 runs on c3 to d4"),
        ("head-only", at("e5"), Fit.UNFIT, "head-only runs on c3"),
        ("v2", at("f6"), Fit.UNKNOWN, "no release tells whether it is before or after d4 to e5"),
        ("v2", at("d4", "e5"), Fit.UNKNOWN, "the database is at d4 and e5"),
        ("v2", at(), Fit.UNKNOWN, "the database is at no revision"),
        ("v2", Current(unread="no answer."), Fit.UNKNOWN, "could not be read: no answer; v2 runs on d4 to e5"),
        ("mute", at("e5"), Fit.UNKNOWN, "does not say on which schemas mute runs"),
        (None, at("e5"), Fit.UNKNOWN, "the release manifest does not know sha256:"),
    ],
)
def test_a_release_and_a_schema(target: str | None, current: Current, fit: Fit, words: str) -> None:
    judged = judge(MANIFEST, "production", build("v3"), build(target), current)
    assert judged.fact.fit is fit
    assert words in judged.why
    if fit is Fit.UNFIT:
        with pytest.raises(TargetUnfit):
            judged.require()
    else:
        assert judged.require() == judged.fact
    assert len(judged.warnings) == (fit is Fit.UNKNOWN)


@pytest.mark.parametrize(
    ("serving", "target", "current", "words"),
    [
        ("v3", "v1", "e5", "Run 'rollback run downgrade-database -e production --target d4' first: v3, which serves"),
        ("strict", "v1", "e5", "There is no order without downtime, strict, which serves now, does not run on d4."),
        (None, "v1", "e5", "Whether ffffffffffff, which serves now, runs on d4 is not known. If it does not, stop"),
        ("v3", "v2", "a1", "Migrate the database up to d4 first: v3, which serves now, runs on it too."),
        ("v1", "strict", "a1", "There is no order without downtime, v1, which serves now, does not run on e5."),
    ],
)
def test_what_helps_says_in_which_order(serving: str | None, target: str, current: str, words: str) -> None:
    judged = judge(MANIFEST, "production", build(serving), build(target), at(current))
    assert judged.remedy.startswith(words)


def test_releases_that_need_no_migration_are_named() -> None:
    assert judge(MANIFEST, "production", build("v3"), build("v1"), at("e5")).remedy.endswith(
        " Without a migration: strict, v2."
    )


def test_releases_that_contradict_each_other_about_the_order_tell_nothing() -> None:
    turned = Manifest.model_validate(
        {
            "releases": {
                "v1": release("1", "b2", "b2", "b2"),
                "x": {**release("2", "b2"), "schemas": ("e5", "b2")},
            }
        }
    )
    judged = judge(turned, "production", build("v3"), build("v1"), at("e5"))
    assert judged.fact.fit is Fit.UNKNOWN


FITS = SchemaFit(fit=Fit.FITS, revisions=("e5",), usable=("d4", "e5"))
UNREAD = SchemaFit(fit=Fit.UNKNOWN, revisions=None, usable=("d4", "e5"))


@pytest.mark.parametrize(
    ("planned", "found", "told"),
    [
        (FITS, at("e5"), ""),
        (UNREAD, at("e5"), ""),
        (FITS, Current(unread="no answer"), "The schema could not be read again"),
        (UNREAD, Current(unread="no answer"), "The schema could not be read again"),
    ],
)
def test_a_plan_still_holds(planned: SchemaFit, found: Current, told: str) -> None:
    now = judge(MANIFEST, "production", build("v3"), build("v2"), found)
    assert check_still_holds(planned, now)[:34] == told


@pytest.mark.parametrize(("planned", "found"), [(FITS, "d4"), (FITS, "a1"), (UNREAD, "a1"), (FITS, "f6")])
def test_a_plan_is_stale_when_the_schema_moved(planned: SchemaFit, found: str) -> None:
    now = judge(MANIFEST, "production", build("v3"), build("v2"), at(found))
    with pytest.raises(PlanIsStale, match="Plan again"):
        check_still_holds(planned, now)


def test_the_fact_of_a_plan_names_revision_and_range() -> None:
    assert FITS.describe(build("v2")) == "the database is at e5; v2 runs on d4 to e5"
    assert UNREAD.describe(build("v2")) == "unknown"
