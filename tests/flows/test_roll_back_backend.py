"""The rollback as its users see it: what is served afterwards, what is told, and what is refused untouched."""

from pathlib import Path

import pytest
from support import V1, V2, V3, World, quick_platform_file, run_flow

from rollback.backend_plans import SwapPlan
from rollback.errors import SettingsInvalid
from rollback.outcomes import EndState
from rollback.runs import Outcome, Store


@pytest.fixture
def store(world: World, tmp_path: Path) -> Store:
    return Store(tmp_path / "state")


def assert_untouched(world: World, outcome: Outcome, *words: str) -> None:
    assert outcome.end_state is EndState.REFUSED
    for word in words:
        assert word in f"{outcome.headline} {' '.join(outcome.next_steps)}"
    assert world.swaps == []
    assert (world.serving, world.runs_in("staging")) == (V3, V2)


async def test_users_get_the_release_before_again_after_one_swap(world: World) -> None:
    outcome = await run_flow()
    assert outcome.end_state is EndState.ROLLED_BACK
    assert outcome.headline == "production serves v1.2.2 again, verified from outside."
    assert (world.serving, world.runs_in("staging")) == (V2, V3)
    assert world.swaps == ["client"]
    assert any("real requests: 30 of 30 good" in line for line in outcome.evidence)
    assert any(line.startswith("api.fundrbolt.com:") for line in outcome.evidence)
    assert any("bad build v1.2.3" in line for line in outcome.next_steps)


async def test_the_report_of_a_run_is_one_page_with_its_plan_steps_and_outcome(world: World, store: Store) -> None:
    outcome = await run_flow(reason="checkout <fails> for one in three")
    page = store.get(outcome.run).report_file.read_text(encoding="utf-8")
    assert "Production serves v1.2.2 again" in page
    assert "checkout &lt;fails&gt; for one in three" in page
    assert "Swap slots" in page
    assert "Verify from outside" in page
    assert "http://" not in page.replace("http-equiv", "")
    assert "<script" not in page


async def test_a_dry_run_shows_the_plan_and_touches_nothing(world: World, store: Store) -> None:
    outcome = await run_flow(dry_run=True)
    assert outcome.end_state is EndState.PLANNED
    assert world.swaps == []
    assert world.serving == V3
    plan = store.get(outcome.run).plan(SwapPlan)
    assert plan is not None
    assert (plan.serving.release, plan.target.release) == (V3, V2)
    assert [step.title for step in plan.steps()] == ["Swap slots", "Verify from outside"]
    assert store.leases.read("production") is None


async def test_the_same_basis_gives_the_same_hash_and_another_target_another(world: World, store: Store) -> None:
    first = store.get((await run_flow(dry_run=True)).run).plan(SwapPlan)
    second = store.get((await run_flow(dry_run=True)).run).plan(SwapPlan)
    assert first is not None
    assert second is not None
    assert first.hash == second.hash
    assert first.hash != first.model_copy(update={"target": first.serving}).hash


async def test_a_named_release_that_serves_already_is_verified_and_left_alone(world: World) -> None:
    await run_flow()
    outcome = await run_flow(release=V2)
    assert outcome.end_state is EndState.ALREADY_THERE
    assert world.swaps == ["client"]


async def test_a_second_rollback_does_not_bring_the_bad_build_back(world: World) -> None:
    first = await run_flow()
    again = await run_flow()
    assert again.end_state is EndState.REFUSED
    assert "the bad build that users were taken off" in again.headline
    assert first.run in again.headline
    assert world.swaps == ["client"]
    assert world.serving == V2


async def test_a_second_rollback_from_another_machine_reads_in_the_apps_tags_what_is_bad(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_flow()
    monkeypatch.setenv("ROLLBACK_STATE", str(tmp_path / "another machine"))
    again = await run_flow()
    assert again.end_state is EndState.REFUSED
    assert "the app's tags say so" in again.headline
    assert world.serving == V2


async def test_tags_that_cannot_be_written_do_not_stop_a_rollback_and_the_bad_build_is_found_out_all_the_same(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    world.control.break_("error", method="PATCH", path="tags/default", times=9)
    outcome = await run_flow()
    assert outcome.end_state is EndState.ROLLED_BACK
    told = [note for step in store.get(outcome.run).journal().steps() for note in step.notes]
    assert any("tags could not be written" in note for note in told)
    monkeypatch.setenv("ROLLBACK_STATE", str(tmp_path / "another machine"))
    again = await run_flow()
    assert again.end_state is EndState.REFUSED
    assert "does not answer as it must" in again.headline
    assert world.serving == V2


async def test_our_own_record_is_enough_where_azure_knows_no_swap(world: World, tmp_path: Path) -> None:
    await run_flow()
    store = Store(tmp_path / "state")
    record = (tmp_path / "state" / "environments" / "production.served.jsonl").read_text(encoding="utf-8")
    world.control.reset()
    world.control.break_("no-swap-history")
    (tmp_path / "state" / "environments" / "production.served.jsonl").write_text(
        "\n".join(line for line in record.splitlines() if '"good"' in line) + "\n", encoding="utf-8"
    )
    outcome = await run_flow()
    assert outcome.end_state is EndState.ROLLED_BACK
    plan = store.get(outcome.run).plan(SwapPlan)
    assert plan is not None
    assert plan.evidence.startswith("our record: it served production")


async def test_an_unknown_target_is_refused_with_what_is_known(world: World) -> None:
    world.control.break_("no-swap-history")
    assert_untouched(world, await run_flow(), "our record knows none", "Azure tells no swap", "v1.2.2", "--release")


async def test_an_unknown_target_may_be_named(world: World) -> None:
    world.control.break_("no-swap-history")
    outcome = await run_flow(release=V2)
    assert outcome.end_state is EndState.ROLLED_BACK


async def test_a_slot_with_the_same_build_is_refused(world: World) -> None:
    world.control.break_("same-build")
    outcome = await run_flow()
    assert outcome.end_state is EndState.REFUSED
    assert "the same build as production" in outcome.headline
    assert world.swaps == []


async def test_a_slot_that_was_redeployed_since_is_refused(world: World) -> None:
    world.control.break_("redeploy", release=V1)
    outcome = await run_flow()
    assert outcome.end_state is EndState.REFUSED
    assert "was redeployed at" in outcome.headline
    assert "v1.2.1" in outcome.headline
    assert world.swaps == []


async def test_a_named_release_that_the_slot_does_not_hold_is_refused(world: World) -> None:
    assert_untouched(world, await run_flow(release=V1), "runs v1.2.2", "not v1.2.1", "redeployed")


async def test_a_stopped_slot_is_refused(world: World) -> None:
    world.control.break_("stop-slot")
    assert_untouched(world, await run_flow(), "stopped", "az webapp start --slot staging")


async def test_an_unfinished_swap_is_refused(world: World) -> None:
    world.control.break_("unfinished-swap")
    assert_untouched(world, await run_flow(), "unfinished swap", "--action swap|reset")


async def test_an_operation_in_progress_is_refused(world: World) -> None:
    world.control.break_("busy")
    assert_untouched(world, await run_flow(), "is in progress", "Wait until it has ended")


async def test_a_slot_that_fails_real_requests_is_refused_though_its_health_is_green(world: World) -> None:
    world.control.break_("app-error", share=0.3, slot="staging")
    assert_untouched(world, await run_flow(), "Slot 'staging' does not answer as it must")


async def test_a_cold_slot_is_waited_for_until_it_is_warm(world: World) -> None:
    world.control.break_("cold-slot", answers=2, seconds=0.1)
    outcome = await run_flow()
    assert outcome.end_state is EndState.ROLLED_BACK


async def test_ramp_up_rules_are_a_planned_step_and_gone_after_the_swap(world: World, store: Store) -> None:
    world.control.break_("ramp-up", percent=20)
    outcome = await run_flow()
    assert outcome.end_state is EndState.ROLLED_BACK
    plan = store.get(outcome.run).plan(SwapPlan)
    assert plan is not None
    assert "20 % of users" in plan.steps()[1].detail
    assert world.control.status().sites["production"].slots["production"].ramp_up_rules == []


async def test_sticky_settings_and_auto_swap_are_shown_without_values(world: World, store: Store) -> None:
    world.control.break_("sticky-differs", name="EMAIL_SENDER", production="value-one", other="value-two")
    world.control.break_("auto-swap")
    outcome = await run_flow(dry_run=True)
    plan = store.get(outcome.run).plan(SwapPlan)
    assert plan is not None
    told = " ".join(plan.warnings)
    assert "EMAIL_SENDER" in told
    assert "Auto-swap is on" in told
    assert "goes on running in slot 'staging'" in told
    assert "value-one" not in plan.model_dump_json()
    assert "value-two" not in plan.model_dump_json()


async def test_a_missing_permission_is_named_before_anything_is_touched(world: World) -> None:
    world.control.break_("deny", action="Microsoft.Web/sites/slots/slotsswap/action")
    assert_untouched(world, await run_flow(), "Microsoft.Web/sites/slots/slotsswap/action", "Assign a role")


async def test_an_environment_without_slots_is_refused(world: World) -> None:
    assert_untouched(world, await run_flow(environment="dev"), "fundrbolt-dev-api", "no slot")


async def test_a_slot_that_the_app_does_not_have_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = quick_platform_file(tmp_path)
    file.write_text(file.read_text(encoding="utf-8").replace('slot = "staging"', 'slot = "blue"'), encoding="utf-8")
    assert_untouched(world, await run_flow(), "no slot 'blue'", "backend.slot")


async def test_an_unknown_environment_is_refused_with_those_that_there_are(world: World) -> None:
    assert_untouched(world, await run_flow(environment="prod"), "no environment 'prod'", "dev, production, staging")


async def test_an_unknown_release_is_refused_with_those_that_there_are(world: World) -> None:
    assert_untouched(world, await run_flow(release="v9"), "no release 'v9'", "v1.2.1, v1.2.2, v1.2.3")


async def test_a_wrong_credential_is_refused_with_entras_code(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "not-the-secret")
    outcome = await run_flow()
    assert_untouched(world, outcome, "AADSTS", "AZURE_CLIENT_SECRET")
    assert "not-the-secret" not in outcome.model_dump_json()


async def test_azure_that_cannot_be_reached_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    outcome = await run_flow()
    assert outcome.end_state is EndState.NOTHING_CHANGED
    assert "No answer from Entra ID" in outcome.headline
    assert world.swaps == []


async def test_a_broken_platform_file_names_field_and_remedy(world: World, tmp_path: Path) -> None:
    file = quick_platform_file(tmp_path)
    file.write_text(file.read_text(encoding="utf-8").replace("settle_seconds = 1", "settle_seconds = -1"), "utf-8")
    with pytest.raises(SettingsInvalid, match=r"environments\.production\.backend\.settle_seconds.*Mend the field"):
        await run_flow()


async def test_a_public_host_that_answers_from_its_cache_is_not_taken_for_verified(world: World) -> None:
    outcome = await run_flow(
        lambda entry: world.control.break_("stale-cache") if entry.change and entry.event == "confirmed" else None
    )
    assert outcome.end_state is EndState.NOT_VERIFIED
    assert "api.fundrbolt.com" in outcome.headline
    assert "from a cache" in outcome.headline
    assert world.serving == V2


async def test_a_release_that_fails_after_the_swap_is_told_as_not_verified(world: World) -> None:
    def break_production(entry: object) -> None:
        if getattr(entry, "event", "") == "confirmed":
            world.control.break_("app-error", share=0.5, slot="production", follows="slot")

    outcome = await run_flow(break_production)
    assert outcome.end_state is EndState.NOT_VERIFIED
    assert world.swaps == ["client"]
    assert world.serving == V2
