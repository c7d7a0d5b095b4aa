"""Frontends brought back by a release's archive or by the platform's own script."""

import re
from pathlib import Path

import pytest
from frontends import ADMIN, WEB, Frontends, frontends_file, redeploy, worktrees
from support import V1, V2, V3, World

from rollback.outcomes import EndState

SCRIPT = '{ command = ["sh", "frontend/deploy.sh", "web"] }'


@pytest.fixture
def frontends(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Frontends:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(frontends_file(tmp_path)))
    return Frontends(world, tmp_path / "state")


async def test_the_newest_known_good_release_before_the_served_one_is_deployed_to_every_frontend(
    frontends: Frontends,
) -> None:
    outcome = await redeploy()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert frontends.all_served() == {V2}
    assert frontends.deployed() == {WEB: 1, ADMIN: 1}
    for host in (f"{WEB}.azurestaticapps.net", "www.fundrbolt.com", f"{ADMIN}.azurestaticapps.net"):
        told = [each for each in outcome.evidence if each.startswith(f"{host}: ")]
        assert "serves v1.2.2, 3 times in a row past every cache (of 3), with the archive's own index.html" in told[0]
        assert told[1:] == [
            f"{host}: all 2 files that its page refers to load",
            f"{host}: its calls to the backend work, 5 times each",
        ]
    assert "v1.2.3 back: revert it there" in outcome.next_steps[0]


async def test_a_dry_run_tells_archive_checksum_and_why_and_touches_nothing(frontends: Frontends) -> None:
    outcome = await redeploy(dry_run=True)
    assert outcome.end_state is EndState.PLANNED, outcome
    page = frontends.told(outcome)
    assert re.search(r"frontend-web\.zip \(0\.01 MB, 5 files, sha256:[0-9a-f]{12}…\)", page)
    assert re.search(r"it was deployed by workflow run \d+ on \d{4}-\d\d-\d\d", page)
    assert frontends.untouched()


async def test_only_the_named_frontend_is_deployed_to(frontends: Frontends) -> None:
    outcome = await redeploy(frontends=("admin",), release=V1)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert (frontends.served(WEB), frontends.served(ADMIN)) == (V3, V1)
    assert frontends.deployed() == {WEB: 0, ADMIN: 1}


async def test_what_is_served_already_is_verified_and_not_deployed_again(frontends: Frontends) -> None:
    await redeploy(frontends=("web",))
    again = await redeploy(frontends=("web",), release=V2)
    assert again.end_state is EndState.ALREADY_THERE, again
    both = await redeploy(release=V2)
    assert both.end_state is EndState.ROLLED_BACK, both
    assert frontends.deployed() == {WEB: 1, ADMIN: 1}


async def test_without_a_name_a_second_run_goes_back_from_what_is_served_now(frontends: Frontends) -> None:
    await redeploy()
    outcome = await redeploy()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert frontends.all_served() == {V1}
    oldest = await redeploy()
    assert oldest.end_state is EndState.REFUSED, oldest
    assert "No release before v1.2.1 is known to have been good." in oldest.headline


async def test_a_release_that_users_were_taken_off_is_not_chosen(frontends: Frontends) -> None:
    await redeploy()
    await redeploy(release=V1)
    assert frontends.all_served() == {V1}
    forward = await redeploy(release=V3)
    assert forward.end_state is EndState.ROLLED_BACK, forward
    plan = "".join(each for each in frontends.told(forward).splitlines() if "Users were taken off" in each)
    assert "Users were taken off v1.2.3 of web on" in plan
    again = await redeploy()
    assert again.end_state is EndState.ROLLED_BACK, again
    assert frontends.all_served() == {V1}


def rename_versions(file: Path) -> None:
    """Let the manifest say that the frontends of the older releases call themselves web-1.2.1 and web-1.2.2."""
    content, renamed = file.read_text(encoding="utf-8"), file.with_name("renamed.toml")
    (known,) = re.findall(r'^manifest = "(.*)"', content, flags=re.M)
    line = r'\g<0>\nfrontend_version = "web-1\1"'
    manifest = re.sub(r'^\[releases\."v1(\.2\.[12])"\]$', line, Path(known).read_text(encoding="utf-8"), flags=re.M)
    renamed.write_text(manifest, encoding="utf-8")
    file.write_text(content.replace(known, str(renamed)), encoding="utf-8")


async def test_a_release_whose_frontend_has_another_version_is_known_by_that(
    frontends: Frontends, tmp_path: Path
) -> None:
    renamed = "sed -i s/v1/web-1/ frontend/VERSION && sh frontend/deploy.sh web"
    file = frontends_file(tmp_path, f'{{ command = ["sh", "-c", "{renamed}"] }}')
    rename_versions(file)
    for release in (V2, V1):
        await redeploy(frontends=("web",), release=release)
    assert frontends.served(WEB) == "web-1.2.1"
    frontends.upload(WEB, V3)
    outcome = await redeploy(frontends=("web",))
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert frontends.served(WEB) == "web-1.2.1"
    warned = await redeploy(frontends=("web",), release=V2, dry_run=True)
    assert "Users were taken off v1.2.2 of web on" in frontends.told(warned)


async def test_where_a_release_was_seen_good_is_told(frontends: Frontends, tmp_path: Path) -> None:
    file = frontends_file(tmp_path)
    content = re.sub(r"environments\.production\.(frontends|workflow)", r"environments.staging.\1", file.read_text())
    file.write_text(content, encoding="utf-8")
    for release in (V2, V3):
        await redeploy(environment="staging", frontends=("web",), release=release)
    outcome = await redeploy(environment="staging", frontends=("web",), dry_run=True)
    assert outcome.end_state is EndState.PLANNED, outcome
    assert re.search(r"it was seen good in staging on \d{4}-\d\d-\d\d", frontends.told(outcome))


async def test_the_platforms_own_script_runs_in_a_clean_worktree_of_the_tag(
    frontends: Frontends, tmp_path: Path
) -> None:
    frontends_file(tmp_path, SCRIPT)
    outcome = await redeploy()
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert frontends.all_served() == {V2}
    assert [each.by for each in frontends.deployments(WEB)] == ["token"]
    assert frontends.deployed() == {WEB: 1, ADMIN: 1}
    assert worktrees() == []


async def test_a_script_is_not_given_our_credentials(frontends: Frontends, tmp_path: Path) -> None:
    frontends_file(tmp_path, '{ command = ["sh", "-c", "env | cut -d= -f1 | sort | xargs; exit 1"] }')
    outcome = await redeploy(frontends=("web",))
    assert outcome.end_state is EndState.NOTHING_CHANGED, outcome
    given = re.search(r"ended with status 1: (.*?)(?: \||\n|$)", outcome.headline)
    assert given is not None
    names = set(given[1].rstrip(".").split())
    assert {"SWA_CLI_DEPLOYMENT_TOKEN", "SWA_CLI_APP_NAME", "HTTPS_PROXY"} <= names
    assert not [each for each in names if each.startswith("AZURE")]


async def test_a_site_that_gives_no_page_at_all_can_be_brought_back_by_name(frontends: Frontends) -> None:
    frontends.control.break_("drop-before", path="version.json|/$", host=f"{WEB}.azurestaticapps.net", times=2)
    outcome = await redeploy(frontends=("web",), release=V2)
    assert outcome.end_state is EndState.ROLLED_BACK, outcome
    assert "from an unknown version" in frontends.told(outcome)


async def test_users_are_told_apart_from_a_cache_that_still_answers(frontends: Frontends) -> None:
    assert frontends.served(WEB) == V3
    frontends.control.break_("swa-stale-edge", site=WEB)
    outcome = await redeploy(frontends=("web",), release=V2)
    assert outcome.end_state is EndState.NOT_VERIFIED, outcome
    assert "answered by a cache, so that what users get is not known" in outcome.headline
    assert frontends.deployed()[WEB] == 1


async def test_a_file_that_the_page_refers_to_and_that_does_not_load_is_told(frontends: Frontends) -> None:
    frontends.control.break_("swa-missing-asset")
    outcome = await redeploy(frontends=("web",))
    assert outcome.end_state is EndState.NOT_VERIFIED, outcome
    assert "its page refers to /assets/" in outcome.headline
