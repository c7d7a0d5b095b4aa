"""GitHub's API by its typed client and by plain HTTPS: who may ask, how it answers, and what the repository holds."""

import subprocess
from datetime import timedelta
from hashlib import sha256

import httpx
import pytest
from github_names import API, OWNER, PATH, REPO, V1, V2, V3
from githubkit import GitHub
from githubkit.exception import RequestFailed

from sandbox.clock import now
from sandbox.fundrbolt.frontends import archive_of
from sandbox.fundrbolt.releases import HEADS, RELEASES
from sandbox.fundrbolt.repository import commit_of
from sandbox.github import links, names

TAGS = [V3, V2, V1]


@pytest.fixture
def ask(https, github_token):
    async def get(path: str, method: str = "GET", token: str = "", **options):
        headers = {"Authorization": f"Bearer {token or github_token}", **options.pop("headers", {})}
        return await https.request(method, path if "://" in path else API + path, headers=headers, **options)

    return get


async def test_strangers_do_not_see_what_is_private(https, ask, github_token):
    for path in (PATH, f"{PATH}/releases", f"{PATH}/actions/runs", "/orgs/fundrbolt/packages/container/x/versions"):
        hidden = await https.get(API + path)
        assert (hidden.status_code, hidden.json()["message"], hidden.json()["status"]) == (404, "Not Found", "404")
    told = await https.get(f"{API}/user")
    assert (told.status_code, told.json()["message"]) == (401, "Requires authentication")
    wrong = await ask(PATH, token=f"{github_token}x")
    assert (wrong.status_code, wrong.json()["message"]) == (401, "Bad credentials")
    assert (
        (await ask("/repos/fundrbolt/another")).json()["documentation_url"].startswith("https://docs.github.com/rest")
    )
    nobody = await ask(PATH, headers={"User-Agent": ""})
    assert (nobody.status_code, "administrative rules" in nobody.text) == (403, True)


async def test_the_token_is_a_persons_and_is_the_vaults(github, github_token, control):
    assert github_token.startswith("github_pat_")
    assert (await github.rest.users.async_get_authenticated()).parsed_data.login == "fundrbolt-operator"
    control.reset()
    assert (await github.rest.users.async_get_authenticated()).status_code == 200


async def test_the_repository_and_its_commits_are_those_of_git(github, running_sandbox):
    def git(*words: str) -> str:
        place = running_sandbox.folder / "platform.git"
        return subprocess.run(["git", "-C", place, *words], check=True, capture_output=True, text=True).stdout.strip()

    repository = (await github.rest.repos.async_get("FundrBolt", REPO)).parsed_data
    assert (repository.full_name, repository.private, repository.default_branch) == (f"{OWNER}/{REPO}", True, "main")
    tags = (await github.rest.repos.async_list_tags(OWNER, REPO)).parsed_data
    assert {tag.name: tag.commit.sha for tag in tags} == {tag: git("rev-parse", f"{tag}^{{commit}}") for tag in TAGS}
    assert tags[0].commit.sha == commit_of(V3)
    for ref in (V2, commit_of(V2), commit_of(V2)[:8]):
        commit = (await github.rest.repos.async_get_commit(OWNER, REPO, ref)).parsed_data
        assert (commit.sha, commit.commit.message) == (git("rev-parse", f"{V2}^{{commit}}"), f"Release {V2}")
        assert [each.sha for each in commit.parents] == [commit_of(V1)]
    reference = (await github.rest.git.async_get_ref(OWNER, REPO, f"tags/{V2}")).parsed_data
    assert (reference.object_.type, reference.object_.sha) == ("tag", git("rev-parse", V2))
    tag = (await github.rest.git.async_get_tag(OWNER, REPO, reference.object_.sha)).parsed_data
    assert (tag.tag, tag.object_.sha) == (V2, commit_of(V2))
    history = (await github.rest.repos.async_list_commits(OWNER, REPO, sha=V2)).parsed_data
    assert [each.sha for each in history] == [commit_of(V2), commit_of(V1)]
    with pytest.raises(RequestFailed, match="422"):
        await github.rest.repos.async_get_commit(OWNER, REPO, "nosuch")


async def test_lists_are_paged_by_links_with_ids(github, ask):
    first = await ask(f"{PATH}/releases?per_page=1")
    assert [each["tag_name"] for each in first.json()] == [V3]
    assert '/repositories/684213907/releases?per_page=1&page=2>; rel="next"' in first.headers["Link"]
    assert 'page=3>; rel="last"' in first.headers["Link"]
    last = await ask(f"{PATH}/releases?per_page=2&page=2")
    assert ([each["tag_name"] for each in last.json()], "next" in last.headers["Link"]) == ([V1], False)
    assert (await ask(first.links["next"]["url"])).json()[0]["tag_name"] == V2
    assert "Link" not in (await ask(f"{PATH}/releases")).headers
    paged = github.rest.paginate(github.rest.repos.async_list_releases, owner=OWNER, repo=REPO, per_page=1)
    assert [release.tag_name async for release in paged] == TAGS


async def test_what_has_not_changed_is_not_sent_and_costs_nothing(ask):
    fresh = await ask(f"{PATH}/releases")
    left = int(fresh.headers["x-ratelimit-remaining"])
    again = await ask(f"{PATH}/releases", headers={"If-None-Match": fresh.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert int(again.headers["x-ratelimit-remaining"]) == left
    other = await ask(f"{PATH}/releases", headers={"If-None-Match": 'W/"another"'})
    assert (other.status_code, int(other.headers["x-ratelimit-remaining"])) == (200, left - 1)
    assert other.headers["X-GitHub-Media-Type"] == "github.v3; format=json"
    assert other.headers["X-GitHub-Request-Id"] != fresh.headers["X-GitHub-Request-Id"]


async def test_the_rate_limit_is_told_and_asking_for_it_is_free(https, github, ask):
    before = (await github.rest.rate_limit.async_get()).parsed_data.resources.core
    after = (await github.rest.rate_limit.async_get()).parsed_data.resources.core
    assert (before.limit, before.remaining) == (5000, after.remaining)
    assert (await https.get(f"{API}/rate_limit")).json()["rate"]["limit"] == 60
    for _ in range(61):
        answer = await https.get(API)
    assert (answer.status_code, answer.headers["x-ratelimit-remaining"]) == (403, "0")
    assert "rate limit exceeded" in answer.json()["message"]
    assert (await ask(PATH)).status_code == 200


async def test_both_versions_of_the_api_are_there_and_no_other(ask):
    def version(name: str) -> dict[str, dict[str, str]]:
        return {"headers": {"X-GitHub-Api-Version": name}}

    assert "has_downloads" in (await ask(PATH, **version("2022-11-28"))).json()
    new = await ask(PATH, **version("2026-03-10"))
    assert ("has_downloads" in new.json(), new.headers["x-github-api-version-selected"]) == (False, "2026-03-10")
    assert (await ask(PATH, **version("2021-01-01"))).status_code == 400


async def test_what_is_not_there_says_what_is_missing(ask):
    for method, path in (
        ("GET", f"{PATH}/pulls"),
        ("GET", f"{PATH}/releases?nosuch=1"),
        ("DELETE", f"{PATH}/releases/1"),
        ("POST", f"{PATH}/git/refs"),
    ):
        answer = await ask(path, method)
        assert (answer.status_code, "NotImplementedInSandbox" in answer.json()["message"]) == (501, True)
    unknown = await ask(f"{PATH}/issues", "POST", json={"title": "x", "milestone": 1})
    assert (unknown.status_code, "milestone" in unknown.json()["message"]) == (501, True)


async def test_releases_are_listed_newest_first_a_week_apart(github):
    releases = (await github.rest.repos.async_list_releases(OWNER, REPO)).parsed_data
    assert [release.tag_name for release in releases] == TAGS
    apart = {(releases[n].published_at - releases[n + 1].published_at).days for n in (0, 1)}
    assert apart == {7}
    latest = (await github.rest.repos.async_get_latest_release(OWNER, REPO)).parsed_data
    assert latest == releases[0]
    assert (await github.rest.repos.async_get_release_by_tag(OWNER, REPO, V2)).parsed_data == releases[1]
    assert (await github.rest.repos.async_get_release(OWNER, REPO, releases[2].id)).parsed_data == releases[2]
    for wrong in (
        github.rest.repos.async_get_release_by_tag(OWNER, REPO, "v9"),
        github.rest.repos.async_get_release(OWNER, REPO, 1),
    ):
        with pytest.raises(RequestFailed) as refused:
            await wrong
        assert refused.value.response.status_code == 404


async def test_an_asset_is_what_its_digest_says(github):
    release = (await github.rest.repos.async_get_release_by_tag(OWNER, REPO, V2)).parsed_data
    assets = {asset.name: asset for asset in release.assets}
    assert list(assets) == ["frontend-web.zip", "frontend-admin.zip", "release.toml"]
    for name, asset in assets.items():
        accept = {"Accept": "application/octet-stream"}
        answer = await github.rest.repos.async_get_release_asset(OWNER, REPO, asset.id, headers=accept)
        assert (len(answer.content), f"sha256:{sha256(answer.content).hexdigest()}") == (asset.size, asset.digest)
        assert asset.browser_download_url.endswith(f"/releases/download/{V2}/{name}")
        if name.endswith(".zip"):
            assert answer.content == archive_of(name.split(".")[0].split("-")[1], V2)
    told = (await github.rest.repos.async_get_release_asset(OWNER, REPO, assets["release.toml"].id)).parsed_data
    assert (told.state, told.download_count) == ("uploaded", 1)
    assert RELEASES[V2] in answer.text
    assert HEADS[V2] in answer.text


async def link_of(ask, name: str = "frontend-web.zip") -> str:
    release = (await ask(f"{PATH}/releases/tags/{V2}")).json()
    [asset] = [each for each in release["assets"] if each["name"] == name]
    answer = await ask(asset["url"], headers={"Accept": "application/octet-stream"})
    assert answer.status_code == 302
    return answer.headers["Location"]


async def test_a_link_needs_no_token_and_takes_none(https, ask):
    link = await link_of(ask)
    assert link.startswith("https://release-assets.githubusercontent.com/github-production-release-asset/")
    answer = await https.get(link)
    assert answer.content == archive_of("web", V2)
    assert answer.headers["Content-Disposition"] == "attachment; filename=frontend-web.zip"
    assert (await https.head(link)).headers["Content-Length"] == str(len(answer.content))
    rest = await https.get(link, headers={"Range": "bytes=100-"})
    assert (rest.status_code, rest.content) == (206, answer.content[100:])
    told = await ask(link)
    assert (told.status_code, "InvalidAuthenticationInfo" in told.text) == (400, True)


async def test_a_link_that_was_changed_is_refused(https, ask):
    link = await link_of(ask)
    for changed in (link.replace("se=2", "se=3"), link[:-4], link.replace("000/", "001/"), link.partition("&sig")[0]):
        if changed == link:
            continue
        answer = await https.get(changed)
        assert (answer.status_code, "<Code>AuthenticationFailed</Code>" in answer.text) == (403, True)
    assert (await https.get(link.partition("?")[0])).status_code == 404


def test_a_link_lasts_five_minutes(monkeypatch):
    url = httpx.URL(links.link("seed", names.ASSETS_HOST, "/asset", "it.zip"))

    def refusal_after(minutes: float) -> str:
        monkeypatch.setattr(links, "now", lambda: now() + timedelta(minutes=minutes))
        return links.refusal("seed", url.host, url.path, dict(url.params))

    assert refusal_after(4.9) == ""
    assert refusal_after(5.1).startswith("Signature not valid in the specified time frame")
    assert links.refusal("another", url.host, url.path, dict(url.params)) == "Signature did not match."


async def test_a_release_page_wants_a_session_whatever_token_comes(https, ask):
    page = f"https://github.com/{OWNER}/{REPO}/releases/download/{V2}/frontend-web.zip"
    assert [(await https.get(page)).status_code, (await ask(page)).status_code] == [404, 404]


async def test_the_containers_tags_are_the_releases(github, control):
    async def versions() -> dict[str, list[str]]:
        answer = await github.rest.packages.async_get_all_package_versions_for_package_owned_by_org(
            "container", "fundrbolt-api", OWNER
        )
        return {each.name: each.metadata.container.tags for each in answer.parsed_data}

    assert await versions() == {RELEASES[tag]: [tag] for tag in TAGS}
    package = await github.rest.packages.async_get_package_for_organization("container", "fundrbolt-api", OWNER)
    assert (package.parsed_data.version_count, package.parsed_data.visibility) == (3, "public")
    control.break_("image-missing", tag=V2)
    assert list(await versions()) == [RELEASES[V3], RELEASES[V1]]


async def test_issues_are_opened_commented_labelled_and_closed(github, ask):
    rest = github.rest.issues
    assert (await rest.async_list_for_repo(OWNER, REPO)).parsed_data == []
    created = await rest.async_create(OWNER, REPO, title="Rolled back", body="v1.2.2", labels=["rollback"])
    issue = created.parsed_data
    assert (created.status_code, issue.number, issue.state) == (201, 1, "open")
    comment = await rest.async_create_comment(OWNER, REPO, 1, body="done")
    assert (comment.status_code, comment.parsed_data.user.login) == (201, "fundrbolt-operator")
    labels = (await rest.async_add_labels(OWNER, REPO, 1, labels=["incident"])).parsed_data
    assert [label.name for label in labels] == ["rollback", "incident"]
    await rest.async_update(OWNER, REPO, 1, state="closed", state_reason="completed")
    after = (await rest.async_get(OWNER, REPO, 1)).parsed_data
    assert (after.title, after.state, after.state_reason, after.comments) == ("Rolled back", "closed", "completed", 1)
    assert (await rest.async_list_for_repo(OWNER, REPO)).parsed_data == []
    assert len((await rest.async_list_for_repo(OWNER, REPO, state="all", labels="incident")).parsed_data) == 1
    refused = await ask(f"{PATH}/issues", "POST", json={"title": ""})
    assert (refused.status_code, refused.json()["message"]) == (422, "Validation Failed")
    assert refused.json()["errors"] == [{"resource": "Issue", "field": "title", "code": "missing_field"}]
    assert (await ask(f"{PATH}/issues", "POST", content="{")).json()["message"] == "Problems parsing JSON"
    assert "assignee" in (await ask(f"{PATH}/issues/1")).json()


async def test_the_token_is_in_no_answer_log_audit_or_state(github, github_token, running_sandbox, ask):
    await github.rest.users.async_get_authenticated()
    answer = await ask(PATH, token=f"{github_token}x")
    assert github_token not in answer.text
    folder = running_sandbox.folder
    for file in (folder / "audit.jsonl", folder / "sandbox.log"):
        assert github_token not in file.read_text()
    state = (folder / "state.json").read_text()
    assert state.count(github_token) == 1, "it is in the vault, and nowhere else"


async def test_a_client_without_a_token_is_told_nothing(control):
    async with GitHub(auto_retry=False, http_cache=False) as stranger:
        with pytest.raises(RequestFailed) as refused:
            await stranger.rest.repos.async_get(OWNER, REPO)
    assert refused.value.response.status_code == 404
