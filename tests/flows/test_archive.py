"""An archive has everything of an environment but its secrets, and says what it lacks and what changed."""

import asyncio
import json
import secrets
from datetime import timedelta
from pathlib import Path

import pytest
from azure_names import SITE
from dying import run_killed_at
from reverting import Things, archive
from support import Sandbox

from deployments.doctor import examine
from flows.archive import archive as archive_flow
from rollback import lease as leases
from rollback.journal import Event
from rollback.models import now
from rollback.outcomes import EndState
from rollback.resources.archive_plans import KEEP, ArchivePlan

ACTION_GROUP = f"{SITE.partition('/providers/')[0]}/providers/Microsoft.Insights/actionGroups/on-call"
STAGING = f"{SITE}/slots/staging"


async def test_every_resource_and_what_belongs_to_it_is_kept_and_nothing_is_changed(things: Things) -> None:
    outcome = await archive()
    assert outcome.end_state is EndState.ARCHIVED, outcome
    index = things.index()
    kept = {entry["id"].rpartition("/providers/")[2] for entry in index["entries"]}
    assert {
        "Microsoft.Web/sites/fundrbolt-production-api",
        "Microsoft.Web/sites/fundrbolt-production-api/slots/staging",
        "Microsoft.Web/sites/fundrbolt-production-api/config/web",
        "Microsoft.Web/sites/fundrbolt-production-api/config/slotConfigNames",
        "Microsoft.Web/sites/fundrbolt-production-api/slots/staging/config/appsettings",
        "Microsoft.KeyVault/vaults/fundrbolt-production-kv",
        "Microsoft.DBforPostgreSQL/flexibleServers/fundrbolt-production-pg",
        "Microsoft.DBforPostgreSQL/flexibleServers/fundrbolt-production-pg/configurations/work_mem",
        "Microsoft.DBforPostgreSQL/flexibleServers/fundrbolt-production-pg/firewallRules/operators",
        "Microsoft.Web/staticSites/fundrbolt-production-web",
    } <= kept
    assert index["unread"] == {}
    assert all("fundrbolt-production-rg" in entry["id"] for entry in index["entries"])
    assert ("Resources", str(len(kept))) in outcome.results
    told = things.store.get(outcome.run).plan(ArchivePlan)
    assert told is not None
    assert "caches' firewall rules" in dict(told.facts())["In no archive"]
    assert things.executed() == 0
    steps = things.store.get(outcome.run).journal().steps()
    assert f"{len(kept)} of {len(kept)} resources are read." in [note for step in steps for note in step.notes]


async def test_which_settings_stay_with_their_slot_is_kept(things: Things) -> None:
    names = {"appSettingNames": ["DATABASE_URL"], "connectionStringNames": ["main"]}
    things.ask("PUT", f"{SITE}/config/slotConfigNames", {"properties": names})
    await archive()
    texts = [json.loads(text) for name, text in things.files.items() if "slotConfigNames" in name]
    (kept,) = (each for each in texts if each["id"].startswith(f"{SITE}/"))
    assert {name: kept["content"]["properties"][name] for name in names} == names


async def test_what_changed_since_the_last_archive_is_named(things: Things) -> None:
    assert "there was no archive before" in (await archive()).headline
    assert "nothing changed since the last archive" in (await archive()).headline
    things.change(alwaysOn=False)
    made = "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/fundrbolt-production-rg"
    alert = f"{made}/providers/Microsoft.Insights/metricAlerts/new-one"
    things.ask("PUT", alert, {"location": "global", "properties": {"severity": 2}}, "2018-03-01")
    outcome = await archive()
    assert "3 changed since the last archive" in outcome.headline, "the app shows it, too"
    assert "fundrbolt-production-api/config/web" in outcome.headline
    assert "new-one (new)" in outcome.headline
    things.control.break_("arm-resource-gone", id=alert)
    assert "1 changed since the last archive: new-one (gone)" in (await archive()).headline


async def test_a_damaged_archive_before_it_is_named_and_keeps_nothing_from_being_archived(things: Things) -> None:
    await archive()
    (broken,) = things.folder.rglob("index.json")
    broken.write_text(broken.read_text(encoding="utf-8")[:40], encoding="utf-8")
    outcome = await archive()
    assert outcome.end_state is EndState.ARCHIVED, outcome
    assert f"what changed is not known: archive {broken.parent.name} is damaged" in outcome.headline
    assert "nothing changed since the last archive" in (await archive()).headline


async def test_a_resource_that_cannot_be_read_is_named_and_the_end_says_so(things: Things) -> None:
    things.control.break_("error", status=500, method="GET", path=r"flexibleServers/[^/]+$", times=50)
    outcome = await archive()
    assert outcome.end_state is EndState.ARCHIVED_NOT_ALL, outcome
    assert "done, but not of all. 1 could not be read: fundrbolt-production-pg: " in outcome.headline
    assert [each.rpartition("/")[2] for each in things.index()["unread"]] == ["fundrbolt-production-pg"]
    things.control.repair()
    again = await archive()
    assert again.end_state is EndState.ARCHIVED, again
    assert "nothing changed" in again.headline, "what could not be read is not taken for new"


async def test_what_the_credential_may_not_see_is_no_success(things: Things) -> None:
    things.control.break_("deny", action="Microsoft.KeyVault/vaults/read")
    outcome = await archive()
    assert "vaults" not in json.dumps(things.index()["entries"])
    assert outcome.end_state is EndState.ARCHIVED_NOT_ALL, outcome
    assert "is not even listed" in outcome.headline


async def test_nothing_is_kept_where_nothing_can_be_read_and_the_earlier_archive_stays(things: Things) -> None:
    await archive()
    things.control.break_("error", status=500, times=500)
    outcome = await archive()
    assert outcome.end_state is EndState.NOTHING_CHANGED, outcome
    assert len(things.store.archives("production").names()) == 1


async def test_a_dry_run_keeps_nothing(things: Things) -> None:
    outcome = await archive(dry_run=True)
    assert outcome.end_state is EndState.PLANNED, outcome
    assert not things.folder.exists()


async def test_it_needs_no_lease(things: Things) -> None:
    async with leases.held(things.store.leases, "production", "1f6c20ab", "restore-database"):
        outcome = await archive()
    assert outcome.end_state is EndState.ARCHIVED, outcome


async def test_no_secret_is_in_an_archive(things: Things, running_sandbox: Sandbox) -> None:
    canary = f"canary-{secrets.token_hex(12)}"
    for site in (SITE, STAGING):
        settings = things.ask("POST", f"{site}/config/appsettings/list")["properties"]
        things.ask("PUT", f"{site}/config/appsettings", {"properties": settings | {"PLAIN": canary}})
        strings = {"main": {"value": f"Server=db;Password={canary}", "type": "PostgreSQL"}}
        things.ask("PUT", f"{site}/config/connectionstrings", {"properties": strings})
    things.change(appCommandLine=f"start --password={canary}")
    hook = {"name": "chat", "serviceUri": f"https://hooks.slack.com/services/T0/B0/{canary}"}
    function = {"name": "page", "httpTriggerUrl": f"https://pager.azurewebsites.net/api/page?code={canary}"}
    properties = {"enabled": True, "webhookReceivers": [hook], "azureFunctionReceivers": [function]}
    things.ask("PUT", ACTION_GROUP, {"location": "global", "properties": properties}, "2023-01-01")
    outcome = await archive()
    assert outcome.end_state is EndState.ARCHIVED, outcome
    state = json.loads((running_sandbox.folder / "state.json").read_text(encoding="utf-8"))
    known = [each["value"] for vault in state["vaults"] for one in vault["secrets"] for each in one["versions"]]
    made = json.loads((running_sandbox.folder / "secrets.json").read_text(encoding="utf-8"))
    known += [canary, made["client_secret"], *made["passwords"].values()]
    told = things.files | {each.name: each.read_text() for each in things.store.get(outcome.run).folder.iterdir()}
    assert not [name for name, text in told.items() if any(value in text for value in known)]
    assert any('"name": "chat"' in text for text in things.files.values())
    assert '"PLAIN": {\n    "$leftOut": "secret"' in "".join(things.files.values())


POINTS = [
    pytest.param(Event.STEP_STARTED, "Plan", id="planning"),
    pytest.param(Event.STEP_STARTED, KEEP, id="reading"),
    pytest.param(Event.SENDING, KEEP, id="right before it is written"),
    pytest.param(Event.CONFIRMED, KEEP, id="written"),
]


@pytest.mark.parametrize(("event", "step"), POINTS)
async def test_a_killed_run_is_gone_on_with_and_leaves_one_archive(things: Things, event: Event, step: str) -> None:
    await asyncio.to_thread(run_killed_at, event, step, archive_flow)
    outcome = await archive(resume=things.store.latest(1)[0].header.run)
    assert outcome.end_state is EndState.ARCHIVED, outcome
    assert len([*things.folder.iterdir()]) == 1


async def test_the_doctor_tells_how_old_the_newest_archive_is(
    things: Things, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await examine("dev")
    assert "– dev: there is no archive of its resources" in capsys.readouterr().out
    await archive(environment="dev")
    await examine("dev")
    assert "resources are archived, last at " in capsys.readouterr().out
    monkeypatch.setattr("deployments.archive_checks.now", lambda: now() + timedelta(days=2))
    assert await examine("dev"), "an archive is only needed to revert to it"
    assert "older than a day" in capsys.readouterr().out


async def test_the_doctor_tells_what_reverting_lacks(things: Things, capsys: pytest.CaptureFixture[str]) -> None:
    await examine("production")
    assert "✓ production: the credential may revert resources of 'fundrbolt-production-rg'" in capsys.readouterr().out
    things.control.break_("deny", action="Microsoft.Authorization/locks/read")
    await examine("production")
    told = capsys.readouterr().out
    assert "– production: The credential may not do Microsoft.Authorization/locks/read on resource group" in told
    assert "deployments/role-revert.json" in told


async def test_as_many_archives_are_kept_as_the_platform_file_says(things: Things, tmp_path: Path) -> None:
    file = tmp_path / "fundrbolt.toml"
    content = file.read_text(encoding="utf-8")
    assert "keep = 90" in content
    file.write_text(content.replace("keep = 90", "keep = 2"), encoding="utf-8")
    for _ in range(3):
        await archive()
    assert len(things.store.archives("production").names()) == 2
