from datetime import timedelta

import pytest

from rollback.database.bill import Bill, TableLoss
from rollback.database.plans import RestorePlan
from rollback.database.settings import StopWrites

BILL = Bill(tables=(TableLoss(table="donations", inserts=1, updates=2, deletes=3, how="counted"),), how="a test")


@pytest.mark.parametrize(
    "moves",
    [
        pytest.param({"estimated": BILL}, id="the estimated bill"),
        pytest.param({"measured": BILL}, id="the measured bill"),
        pytest.param({"reason": "another", "warnings": ("look",), "observations": ("busy",)}, id="words"),
    ],
)
def test_what_moves_while_the_apps_write_leaves_the_hash(plan: RestorePlan, moves: dict[str, object]) -> None:
    assert plan.model_copy(update=moves).hash == plan.hash


def test_every_target_and_fact_is_bound(plan: RestorePlan) -> None:
    consumer, rules = plan.consumers[0], plan.settings.firewall_rules
    others = [
        plan.model_copy(update=update)
        for update in (
            {"new": plan.new.model_copy(update={"name": "another"})},
            {"source": plan.source.model_copy(update={"resource_group": "another"})},
            {"point": plan.point + timedelta(microseconds=1)},
            {"stop_writes": StopWrites.AT_CUT_OVER},
            {"secret_version": "another"},
            {"consumers": ()},
            {"consumers": (consumer, consumer.model_copy(update={"slot": "staging"}))},
            {"consumers": (consumer.model_copy(update={"was_running": False}),)},
            {"settings": plan.settings.model_copy(update={"firewall_rules": rules[:-1]})},
            {"waived": ("backup retention",)},
            {"tolerance_rows": 1_000_000},
            {"tolerance_share": 0.9},
        )
    ]
    assert len({each.hash for each in (plan, *others)}) == 1 + len(others)


def test_a_bill_that_asks_again_is_bound_as_it_was_measured(plan: RestorePlan) -> None:
    measured = plan.model_copy(update={"measured": BILL})
    again = measured.model_copy(update={"asks_again": True})
    worse = again.model_copy(update={"measured": Bill(how="a test")})
    assert len({plan.hash, again.hash, worse.hash}) == 3
    assert again.model_copy(update={"estimated": BILL}).hash == again.hash
    assert "asked again" in again.title


def test_a_plan_read_back_from_its_file_has_the_same_hash(plan: RestorePlan) -> None:
    assert RestorePlan.model_validate_json(plan.model_dump_json()).hash == plan.hash


@pytest.mark.parametrize(
    ("stop_writes", "first"), [(StopWrites.NOW, "Stop writers"), (StopWrites.AT_CUT_OVER, "Restore beside")]
)
def test_steps_follow_the_way_in_which_writes_stop(plan: RestorePlan, stop_writes: StopWrites, first: str) -> None:
    titles = [each.title for each in plan.model_copy(update={"stop_writes": stop_writes}).steps()]
    assert titles[0] == first
    assert titles.index("Fence the old server") < titles.index("Compare both servers") < titles.index("Cut over")


def test_a_restore_point_is_told_as_exactly_as_it_was_given(plan: RestorePlan) -> None:
    assert plan.point_words == "2026-03-01 10:02:13 UTC"
    finer = plan.model_copy(update={"point": plan.point + timedelta(milliseconds=250)})
    assert finer.point_words == "2026-03-01 10:02:13.25 UTC"
