"""One resource goes back to what it was, by one PATCH of what differs."""

import json
import subprocess
from pathlib import Path

import pytest
from azure_names import GROUP, SITE, SUBSCRIPTION
from reverting import CONFIG, Things, archive, revert

from rollback.outcomes import EndState

SERVER = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.DBforPostgreSQL/flexibleServers"
    "/fundrbolt-production-pg"
)
OFF = {"alwaysOn": False, "http20Enabled": True}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in which a tag has files of resources."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git = ("git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.example")
    files: dict[str, object] = {
        "app.json": {"id": CONFIG, "properties": {"alwaysOn": True, "connectionStrings": None}},
        "other.json": {"id": f"{SITE}/slots/staging/config/web", "properties": {}},
        "template.json": {"$schema": "deploymentTemplate.json#", "resources": []},
        "empty.json": {"sku": 1},
        "list.json": [],
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "app.bicep").write_text("resource", encoding="utf-8")
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "Configuration"), ("tag", "v1.2.2")):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setenv("ROLLBACK_REPOSITORY", str(folder))
    return folder


async def test_what_somebody_changed_by_hand_comes_back_and_nothing_else_is_sent(things: Things) -> None:
    await things.archived_and_changed(**OFF)
    outcome = await revert()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    config = things.config()
    assert (config["alwaysOn"], config["http20Enabled"]) == (True, False)
    assert things.executed() == 1
    plan = things.plan(outcome)
    assert plan.body == {"properties": {"alwaysOn": True, "http20Enabled": False}}
    assert plan.risk == "high"
    assert ("properties.alwaysOn", "false → true") in plan.facts()
    assert any("health pages right" in each for each in outcome.evidence)


async def test_what_was_replaced_is_kept_and_brings_it_back_again(things: Things) -> None:
    await things.archived_and_changed(**OFF)
    outcome = await revert()
    names = things.store.archives("production").all_names()
    (kept,) = [each for each in names if each.endswith(outcome.run)]
    named = next(each.partition("--archive ")[2].split()[0] for each in outcome.next_steps if "To undo it" in each)
    assert kept.startswith(named)
    assert any("properties.alwaysOn: false → true" in each for each in outcome.next_steps)
    assert any("Does the template say the same?" in each for each in outcome.next_steps)
    assert outcome.headline.startswith("'fundrbolt-production-api/config/web'"), "reports begin with a capital letter"
    assert any("restarts the app" in each.detail for each in things.plan(outcome).steps())
    again = await revert()
    assert again.end_state is EndState.ALREADY_THERE, "it would otherwise go back and forth"
    undone = await revert(archive=named)
    assert undone.end_state is EndState.ROLLED_BACK, undone
    assert things.config()["alwaysOn"] is False


async def test_a_named_archive_is_taken_whichever_it_is(things: Things) -> None:
    await things.archived_and_changed(http20Enabled=True)
    await things.archived_and_changed(alwaysOn=False)
    first, second = sorted(things.store.archives("production").names())
    newest = things.plan(await revert(dry_run=True))
    assert newest.then == f"archive {second}"
    assert newest.body == {"properties": {"alwaysOn": True}}
    oldest = things.plan(await revert(dry_run=True, archive=first))
    assert oldest.body == {"properties": {"alwaysOn": True, "http20Enabled": False}}
    await archive()
    same = await revert(archive=things.store.archives("production").names()[0])
    assert same.end_state is EndState.ALREADY_THERE, same
    assert things.executed() == 0


async def test_a_bad_configuration_that_was_archived_never_comes_back_by_itself(things: Things) -> None:
    await things.archived_and_changed(alwaysOn=False)
    (good,) = things.store.archives("production").names()
    await archive()
    bad = things.store.archives("production").names()[0]
    refused = await revert()
    assert refused.end_state is EndState.REFUSED, refused
    assert f"is as in the newest archive, {bad}" in refused.headline
    assert any(f"archive {good} (properties.alwaysOn: false → true)" in each for each in refused.next_steps)
    assert (await revert(archive=good)).end_state is EndState.ROLLED_BACK
    for _ in range(2):
        again = await revert()
        assert again.end_state is EndState.REFUSED, again
        assert f"is as in archive {good}, but not as in the newest, {bad}" in again.headline
    assert (await revert(archive=good)).end_state is EndState.ALREADY_THERE
    assert things.config()["alwaysOn"] is True
    assert things.executed() == 1


async def test_what_a_run_replaced_since_it_was_archived_does_not_come_back_by_itself(
    things: Things, repository: Path
) -> None:
    things.change(**OFF)
    await archive()
    assert (await revert(from_git="v1.2.2:app.json")).end_state is EndState.ROLLED_BACK
    things.begin()
    outcome = await revert()
    assert outcome.end_state is EndState.REFUSED, outcome
    assert "was replaced by a run since" in outcome.headline
    assert things.config()["alwaysOn"] is True
    assert things.executed() == 0


async def test_only_the_named_properties_come_back(things: Things) -> None:
    await things.archived_and_changed(**OFF)
    outcome = await revert(only=("properties.alwaysOn",))
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    config = things.config()
    assert (config["alwaysOn"], config["http20Enabled"]) == (True, True)
    assert any("1 other differences stay" in each for each in things.plan(outcome).warnings)
    assert "has properties.alwaysOn of archive" in outcome.headline
    again = await revert(only=("properties.alwaysOn",))
    assert again.end_state is EndState.ALREADY_THERE, again
    assert "has properties.alwaysOn of archive" in again.headline


def rule(name: str, address: str, action: str = "Allow", priority: int = 100) -> dict[str, object]:
    """Of the app's restrictions of access."""
    return {"name": name, "ipAddress": address, "action": action, "priority": priority, "tag": "Default"}


async def test_only_the_named_element_of_an_array_comes_back(things: Things) -> None:
    corp, office = rule("corp", "203.0.113.0/24"), rule("office", "198.51.100.0/32", priority=110)
    things.change(ipSecurityRestrictions=[corp, office])
    wider, denied = {**office, "ipAddress": "198.51.100.0/24"}, rule("bad", "6.6.6.6/32", "Deny", 50)
    await things.archived_and_changed(ipSecurityRestrictions=[{**corp, "ipAddress": "203.0.113.0/25"}, wider, denied])
    outcome = await revert(only=("properties.ipSecurityRestrictions[corp]",))
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert things.config()["ipSecurityRestrictions"] == [corp, wider, denied]
    assert any("2 other differences stay" in each for each in things.plan(outcome).warnings)


async def test_tags_are_written_whole_and_those_that_tell_what_served_stay(things: Things) -> None:
    things.ask("PATCH", SITE, {"tags": {"cost-center": "1", "owner": "web", "rollback-release": "v1.2.1"}})
    await archive()
    things.ask("PATCH", SITE, {"tags": {"cost-center": "2", "hand": "made", "rollback-release": "v1.2.3"}})
    outcome = await revert(resource=SITE)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert things.ask("GET", SITE)["tags"] == {"cost-center": "1", "owner": "web", "rollback-release": "v1.2.3"}
    assert things.plan(outcome).risk == "medium"


@pytest.mark.parametrize(
    ("name", "before", "changed"),
    [
        pytest.param("work_mem", "8192", "12288", id="set before"),
        pytest.param("deadlock_timeout", "1000", "2000", id="as Azure sets it before"),
    ],
)
async def test_a_servers_parameter_comes_back(things: Things, name: str, before: str, changed: str) -> None:
    parameter = f"{SERVER}/configurations/{name}"
    assert things.parameter(parameter) == before
    await archive()
    await things.set_parameter(parameter, changed)
    things.begin()
    outcome = await revert(resource=parameter)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert things.plan(outcome).body == {"properties": {"value": before}}
    assert things.plan(outcome).risk == "high"
    assert things.parameter(parameter) == before
    assert things.executed() == 1


async def test_a_parameter_comes_back_as_the_newest_archive_has_it(things: Things) -> None:
    parameter = f"{SERVER}/configurations/deadlock_timeout"
    await things.set_parameter(parameter, "2000")
    await archive()
    await things.set_parameter(parameter, "1000")
    await archive()
    await things.set_parameter(parameter, "3000")
    outcome = await revert(resource=parameter, dry_run=True)
    assert things.plan(outcome).body == {"properties": {"value": "1000"}}


async def test_a_parameter_that_waits_for_a_restart_is_not_called_verified(things: Things) -> None:
    parameter = f"{SERVER}/configurations/max_connections"
    before = things.parameter(parameter)
    await archive()
    await things.set_parameter(parameter, "500")
    planned = await revert(resource=parameter, dry_run=True)
    assert any("only holds after a restart of the server" in each for each in things.plan(planned).warnings)
    outcome = await revert(resource=parameter)
    assert outcome.end_state is EndState.NOT_VERIFIED, outcome
    assert "is set and does not hold yet: the server has to restart" in outcome.headline
    assert any("az postgres flexible-server restart" in each for each in outcome.next_steps)
    assert things.parameter(parameter) == before


async def test_a_file_in_git_brings_back_what_it_mentions(things: Things, repository: Path) -> None:
    (repository / "app.json").write_text("changed since and not committed", encoding="utf-8")
    things.change(**OFF)
    things.begin()
    outcome = await revert(from_git="v1.2.2:app.json")
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    config = things.config()
    assert (config["alwaysOn"], config["http20Enabled"]) == (True, True)
    assert things.executed() == 1
    assert "app.json at v1.2.2 (commit " in things.plan(outcome).source


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("v1.2.2", "names no file in git"),
        ("v9:app.json", "has no tag or commit 'v9'"),
        ("v1.2.2:missing.json", "There is no file"),
        ("v1.2.2:../../../../etc/hostname", "There is no file"),
        ("v1.2.2:app.bicep", "is not JSON"),
        ("v1.2.2:list.json", "is no resource"),
        ("v1.2.2:empty.json", "has no properties"),
        ("v1.2.2:template.json", "is a template"),
        ("v1.2.2:other.json", "is of another resource"),
    ],
)
async def test_a_file_that_does_not_fit_is_refused(things: Things, repository: Path, named: str, why: str) -> None:
    outcome = await revert(from_git=named)
    assert outcome.end_state is EndState.REFUSED, outcome
    assert why in outcome.headline
    assert things.executed() == 0
