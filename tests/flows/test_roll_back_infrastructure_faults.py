"""What goes wrong while infrastructure is rolled back: the end state, what was applied, and nothing sent twice."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from infrastructure import (
    BASE,
    PLAN,
    STORAGE,
    Infrastructure,
    infrastructure_file,
    main_template,
    make_infrastructure,
    roll_back,
    storage,
)
from support import V2, World

from rollback.journal import Entry, Event
from rollback.outcomes import EndState

DEPLOY = "Deploy the template"
SENT = rf"/deployments/{BASE}-rollback-"
SERVERFARM = "Microsoft.Web/serverfarms"


@pytest.fixture
async def infrastructure(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Infrastructure:
    return await make_infrastructure(world, tmp_path, monkeypatch)


def once_approved(do: Callable[[], None]) -> Callable[[Entry], None]:
    """Something that happens between the approval and the deployment."""

    def watch(entry: Entry) -> None:
        if (entry.event, entry.step) == (Event.STEP_FINISHED, "Approval"):
            do()

    return watch


@pytest.mark.parametrize(
    ("fault", "options", "requests"),
    [
        pytest.param("drop-after", {}, 1, id="done and the answer lost"),
        pytest.param("drop-before", {}, 2, id="not done and the answer lost"),
        pytest.param("throttle", {"retry_after": 0.1}, 2, id="429"),
        pytest.param("error", {"status": 503}, 2, id="503"),
    ],
)
async def test_a_deployment_that_is_answered_badly_is_made_once(
    infrastructure: Infrastructure, fault: str, options: dict[str, float], requests: int
) -> None:
    infrastructure.control.break_(fault, method="PUT", path=SENT, **options)
    outcome = await roll_back()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert infrastructure.executed() == ["Succeeded"]
    assert infrastructure.sent() == requests


async def test_reading_that_is_throttled_goes_on(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("throttle", retry_after=0.1, path="/whatIf|/operations|/locks", times=3)
    outcome = await roll_back()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert infrastructure.executed() == ["Succeeded"]


@pytest.mark.parametrize("waited_for", ["/whatIf", "/operationresults"])
async def test_a_what_if_that_takes_too_long_is_given_up_and_says_which_setting_would_wait(
    infrastructure: Infrastructure, tmp_path: Path, waited_for: str
) -> None:
    infrastructure_file(tmp_path, what_if_timeout_seconds=1)
    infrastructure.control.break_("delay", seconds=4, path=waited_for)
    outcome = await roll_back()
    assert outcome.end_state is EndState.NOTHING_CHANGED, outcome
    assert "did not say within 1 s what the deployment to the subscription would change" in outcome.headline
    assert "what_if_timeout_seconds" in outcome.next_steps[0]
    assert infrastructure.sent() == 0


async def test_one_that_fails_half_way_tells_all_and_is_deployed_again_on_resuming(
    infrastructure: Infrastructure,
) -> None:
    infrastructure.control.break_("arm-deployment-fails", type=SERVERFARM)
    outcome = await roll_back()
    assert outcome.end_state is EndState.PART_WAY, outcome
    assert "InternalServerError: There was an unexpected InternalServerError" in outcome.headline
    assert f"{SERVERFARM} fundrbolt-production-plan" in outcome.headline
    assert any("sites/config fundrbolt-production-api/web deployed" in each for each in outcome.done)
    again = await roll_back(resume=outcome.run)
    assert again.end_state is EndState.ROLLED_BACK, again
    assert await infrastructure.deployments() == {
        f"{BASE}-rollback-{outcome.run}": "Failed",
        f"{BASE}-rollback-{outcome.run}-2": "Succeeded",
    }


async def test_one_that_fails_at_everything_changed_nothing(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("arm-deployment-fails", times=2)
    outcome = await roll_back()
    assert outcome.end_state is EndState.NOTHING_CHANGED, outcome
    assert "0 resources are deployed" in outcome.headline


async def test_one_that_never_ends_is_unknown_until_it_is_seen(infrastructure: Infrastructure, tmp_path: Path) -> None:
    infrastructure_file(tmp_path, deploy_timeout_seconds=2)
    infrastructure.control.break_("arm-deployment-never-ends", type=SERVERFARM)
    outcome = await roll_back()
    assert outcome.end_state is EndState.OUTCOME_UNKNOWN, outcome
    infrastructure.control.repair("arm-deployment-never-ends")
    again = await roll_back(resume=outcome.run)
    assert again.end_state is EndState.ROLLED_BACK, again
    assert infrastructure.executed() == ["Succeeded"]
    assert infrastructure.sent() == 1


async def test_one_that_somebody_cancels_is_told(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("arm-deployment-never-ends", type=SERVERFARM)

    async def cancel() -> None:
        async with infrastructure.client() as client:
            while not infrastructure.executed():  # noqa: ASYNC110 - Azure tells by being asked only
                await asyncio.sleep(0.05)
            (name,) = await infrastructure.deployments()
            await client.deployments.cancel_at_subscription_scope(name)

    outcome, _ = await asyncio.gather(roll_back(), cancel())
    assert outcome.end_state in {EndState.PART_WAY, EndState.NOTHING_CHANGED}, outcome
    assert "canceled" in outcome.headline


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param("arm-policy-denies", "RequestDisallowedByPolicy", id="policy"),
        pytest.param("arm-quota", "QuotaExceeded: Operation could not be completed", id="quota"),
    ],
)
async def test_what_azure_would_refuse_is_refused_in_planning_in_its_words(
    infrastructure: Infrastructure, fault: str, words: str
) -> None:
    infrastructure.control.break_(fault)
    outcome = await roll_back()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert words in outcome.headline
    assert infrastructure.sent() == 0


async def test_a_policy_that_comes_after_the_approval_touches_nothing(infrastructure: Infrastructure) -> None:
    outcome = await roll_back(once_approved(lambda: infrastructure.control.break_("arm-policy-denies")))
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "RequestDisallowedByPolicy" in outcome.headline
    assert infrastructure.executed() == []


async def test_a_lock_is_refused_in_planning_by_its_name(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("arm-lock", scope="fundrbolt-production-rg")
    outcome = await roll_back()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "Lock 'somebody-elses-lock' (ReadOnly) (Do not touch.)" in outcome.headline
    assert infrastructure.sent() == 0


async def test_a_lock_that_only_keeps_from_deleting_is_no_hindrance(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("arm-lock", scope="fundrbolt-production-rg", level="CanNotDelete")
    assert (await roll_back()).end_state is EndState.ROLLED_BACK


async def test_a_lock_that_comes_after_the_approval_touches_nothing(infrastructure: Infrastructure) -> None:
    outcome = await roll_back(once_approved(lambda: infrastructure.control.break_("arm-lock", scope=PLAN)))
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "somebody-elses-lock" in outcome.headline
    assert infrastructure.executed() == []


async def test_drift_after_the_approval_touches_nothing(infrastructure: Infrastructure) -> None:
    def drift() -> None:
        infrastructure.control.break_("arm-drift", id=PLAN, tag="release", value="by-hand")

    outcome = await roll_back(once_approved(drift))
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "What-if says something else than when the plan was made: fundrbolt-production-plan tags.release" in (
        outcome.headline
    )
    assert infrastructure.executed() == []


async def test_new_noise_after_the_approval_is_none_of_it(infrastructure: Infrastructure) -> None:
    def clutter() -> None:
        infrastructure.control.break_("whatif-noise", type=SERVERFARM, property="perSiteScaling")

    outcome = await roll_back(once_approved(clutter))
    assert outcome.end_state is EndState.ROLLED_BACK, outcome


async def test_a_template_that_changes_under_its_tag_is_still_the_approved_commits(
    infrastructure: Infrastructure,
) -> None:
    def retag() -> None:
        infrastructure.repository.commit(V2, main_template("v1.2.1", storage()))

    outcome = await roll_back(once_approved(retag))
    assert outcome.end_state is EndState.ROLLED_BACK, outcome


@pytest.mark.parametrize(
    ("main", "words"),
    [
        pytest.param("{", "cannot be read", id="no JSON"),
        pytest.param(
            json.dumps(main_template(V2, {**storage(), "name": "[parameters('nosuch')]"})),
            "Azure does not take the",
            id="an expression that Azure does not take",
        ),
    ],
)
async def test_a_template_that_is_not_whole_is_refused(infrastructure: Infrastructure, main: str, words: str) -> None:
    infrastructure.repository.commit("v1.2.0", main)
    outcome = await roll_back(release="v1.2.0")
    assert outcome.end_state is EndState.REFUSED, outcome
    assert words in outcome.headline
    assert infrastructure.sent() == 0


async def test_a_resource_that_is_gone_is_made_again(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("arm-resource-gone", id=STORAGE)
    outcome = await roll_back(release="v1.2.3")
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert any("storageAccounts fundrboltexports deployed" in each for each in outcome.done)


async def test_a_resource_that_goes_after_the_approval_touches_nothing(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("arm-drift", id=PLAN, tag="release", value="by-hand")
    gone = once_approved(lambda: infrastructure.control.break_("arm-resource-gone", id=STORAGE))
    outcome = await roll_back(gone, release="v1.2.3")
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "fundrboltexports is new" in outcome.headline


async def test_what_azure_does_not_evaluate_is_named_and_of_high_risk(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("whatif-unsupported", type=SERVERFARM)
    outcome = await roll_back(dry_run=True)
    plan = infrastructure.store.get(outcome.run).folder / "plan.json"
    assert "is not supported by what-if" in plan.read_text(encoding="utf-8")


async def test_a_nested_template_that_what_if_leaves_out_is_named(infrastructure: Infrastructure) -> None:
    infrastructure.control.break_("whatif-limit")
    outcome = await roll_back(dry_run=True)
    assert outcome.end_state is EndState.PLANNED, outcome
    plan = (infrastructure.store.get(outcome.run).folder / "plan.json").read_text(encoding="utf-8")
    assert "Microsoft.Resources/deployments/fundrbolt-production" in plan


@pytest.mark.parametrize(
    ("action", "word"),
    [
        ("Microsoft.Web/serverfarms/write", "Microsoft.Web/serverfarms/write"),
        ("Microsoft.Resources/deployments/whatIf/action", "deployments/whatIf/action"),
        ("Microsoft.Authorization/locks/read", "locks"),
    ],
)
async def test_a_permission_that_is_missing_is_named_before_anything_is_touched(
    infrastructure: Infrastructure, action: str, word: str
) -> None:
    infrastructure.control.break_("deny", action=action)
    outcome = await roll_back()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert word in outcome.headline
    assert infrastructure.sent() == 0


async def test_two_at_once_deploy_once(infrastructure: Infrastructure) -> None:
    ended = await asyncio.gather(roll_back(), roll_back())
    assert sorted(each.end_state.value for each in ended) == ["refused", "rolled back"]
    assert infrastructure.executed() == ["Succeeded"]
