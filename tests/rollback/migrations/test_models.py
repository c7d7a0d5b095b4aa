"""Targets become absolute revisions, and paths are alembic's."""

import pytest

from rollback.errors import ChainBroken, NotBelow, RevisionUnknown
from rollback.migrations.models import Down, Graph, Verdict


def down(revision: str, *below: str, **more: tuple[str, ...]) -> Down:
    return Down(
        revision=revision,
        down_revision=below[0] if below else None,
        merged=below[1:],
        title="",
        verdicts=(Verdict.GOOD,),
        reasons=("",),
        losses=(),
        statements=(),
        **more,
    )


def graph(*newest_first: Down) -> Graph:
    return Graph(
        heads=(newest_first[0].revision,),
        problems=(),
        history=tuple(each.revision for each in newest_first),
        revisions=newest_first,
    )


LINE = graph(down("dddd1", "cccc1"), down("cccc1", "bbbb1"), down("bbbb1", "aaaa1"), down("aaaa1", labels=("start",)))
MERGED = graph(
    down("eeee1", "dddd1"),
    down("dddd1", "bbbb1", "cccc1"),
    down("cccc1", "aaaa1"),
    down("bbbb1", "aaaa1"),
    down("aaaa1"),
)
BESIDE = Graph(
    heads=("bbbb1", "cccc1"),
    problems=(),
    history=("cccc1", "bbbb1", "aaaa1"),
    revisions=(down("cccc1", "aaaa1", depends_on=("bbbb1",)), down("bbbb1", "aaaa1"), down("aaaa1")),
)


@pytest.mark.parametrize(
    ("target", "current", "revision"),
    [
        ("-1", "dddd1", "cccc1"),
        ("previous", "dddd1", "cccc1"),
        ("-3", "dddd1", "aaaa1"),
        ("-1", "aaaa1", "base"),
        ("dddd-2", "bbbb1", "bbbb1"),
        ("base", "dddd1", "base"),
        ("bbbb", "dddd1", "bbbb1"),
        ("bbbb1", "dddd1", "bbbb1"),
        ("start@aaaa", "dddd1", "aaaa1"),
    ],
)
def test_a_target_becomes_absolute(target: str, current: str, revision: str) -> None:
    assert LINE.resolve(target, current) == revision


@pytest.mark.parametrize("target", ["-5", "eeee", "cccc9", "", "+1"])
def test_an_unknown_target_names_what_there_is(target: str) -> None:
    with pytest.raises(RevisionUnknown, match="There is: dddd1, cccc1, bbbb1, aaaa1"):
        LINE.resolve(target, "dddd1")


def test_a_prefix_of_two_revisions_is_refused() -> None:
    with pytest.raises(RevisionUnknown, match="Multiple revisions start with 'aaaa'"):
        graph(down("aaaa2", "aaaa1"), down("aaaa1")).resolve("aaaa", "aaaa2")


def test_one_step_down_from_a_merge_is_refused() -> None:
    with pytest.raises(RevisionUnknown, match="merges bbbb1 and cccc1"):
        MERGED.resolve("-1", "dddd1")


@pytest.mark.parametrize(
    ("of", "current", "target", "steps"),
    [
        (LINE, "dddd1", "bbbb1", ["dddd1", "cccc1"]),
        (LINE, "dddd1", "dddd1", []),
        (LINE, "bbbb1", "base", ["bbbb1", "aaaa1"]),
        (MERGED, "eeee1", "aaaa1", ["eeee1", "dddd1", "bbbb1", "cccc1"]),
        (MERGED, "eeee1", "bbbb1", ["eeee1", "dddd1"]),
        (BESIDE, "cccc1", "aaaa1", ["cccc1", "bbbb1"]),
    ],
)
def test_the_path_is_what_alembic_runs(of: Graph, current: str, target: str, steps: list[str]) -> None:
    assert [step.revision for step in of.path(current, target)] == steps


@pytest.mark.parametrize(("current", "target"), [("bbbb1", "dddd1"), ("bbbb1", "cccc1")])
def test_what_is_not_below_is_refused(current: str, target: str) -> None:
    with pytest.raises(NotBelow, match=f"Revision {target} is not below {current}"):
        MERGED.path(current, target)


def test_a_database_at_a_revision_that_no_file_has_is_refused() -> None:
    with pytest.raises(RevisionUnknown, match="ffff1"):
        LINE.path("ffff1", "aaaa1")


def test_a_broken_chain_leads_nowhere() -> None:
    broken = LINE.model_copy(update={"problems": ("revision bbbb1 follows zzzz1, which no file has",)})
    with pytest.raises(ChainBroken, match="bbbb1 follows zzzz1"):
        broken.path("dddd1", "cccc1")
    with pytest.raises(ChainBroken, match="Repair"):
        broken.resolve("-1", "dddd1")
