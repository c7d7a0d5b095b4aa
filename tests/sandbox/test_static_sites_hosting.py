"""What users get of the static sites: files, headers, the edge, and the frontends' own behaviour."""

import io
import json
import os
import subprocess
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from static_site_names import HOST, PATH, SITE, upload, zipped

from sandbox.fundrbolt import cors, frontends
from sandbox.fundrbolt.releases import RELEASES
from sandbox.static_sites import archives, hosting

URL = f"https://{HOST}"
API = "https://api.fundrbolt.com/api/v1/donations?limit=5"
SINCE = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)


@pytest.fixture
async def token(arm) -> str:
    return (await arm.ask("POST", f"{PATH}/{SITE}/listSecrets")).json()["properties"]["apiKey"]


def files_of(archive: bytes) -> dict[str, bytes]:
    opened = zipfile.ZipFile(io.BytesIO(archive))
    return {name: opened.read(name) for name in opened.namelist()}


async def test_every_file_of_the_release_is_served_with_its_type(https):
    types = {"js": "text/javascript", "css": "text/css", "json": "application/json", "html": "text/html"}
    for path, content in files_of(frontends.archive_of("web", "v1.2.3")).items():
        answer = await https.get(f"{URL}/{path}")
        if path == "staticwebapp.config.json":
            assert answer.status_code == 404
            continue
        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers["Content-Type"] == types[path.rpartition(".")[2]]
        assert answer.headers["Cache-Control"] == "public, must-revalidate, max-age=30"


async def test_an_answer_has_the_headers_of_such_a_site_and_those_of_the_configuration(https):
    answer = await https.get(URL)
    assert answer.headers["Strict-Transport-Security"] == "max-age=10886400; includeSubDomains; preload"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
    assert answer.headers["X-Cache"] == "MISS"
    head = await https.head(URL)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("ETag", "Last-Modified", "Content-Length", "Content-Type"):
        assert head.headers[name] == answer.headers[name]
    posted = await https.post(URL)
    assert (posted.status_code, posted.headers["Allow"]) == (405, "GET, HEAD")


async def test_what_the_client_has_already_is_not_sent_again(https):
    known = (await https.get(URL)).headers
    for headers in (
        {"If-None-Match": known["ETag"]},
        {"If-None-Match": f'"x", W/{known["ETag"]}'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": known["Last-Modified"]},
    ):
        same = await https.get(URL, headers=headers)
        assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", known["ETag"])
    for headers in (
        {"If-None-Match": '"other"', "If-Modified-Since": known["Last-Modified"]},
        {"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"},
        {"If-Modified-Since": "yesterday"},
    ):
        assert (await https.get(URL, headers=headers)).status_code == 200


async def test_pages_that_the_browser_makes_are_the_index_and_missing_files_are_not(https):
    index = (await https.get(URL)).content
    deep = await https.get(f"{URL}/campaigns/7")
    assert (deep.status_code, deep.content) == (200, index)
    for path in ("/assets/nosuch.js", "/nosuch.json"):
        missing = await https.get(URL + path)
        assert (missing.status_code, "404: Not Found" in missing.text) == (404, True)


async def test_a_name_that_no_site_has_gets_azures_page(https):
    answer = await https.get("https://nosuch.azurestaticapps.net/")
    assert (answer.status_code, "Azure Static Web Apps - 404" in answer.text) == (404, True)


async def test_the_edge_answers_from_its_cache_until_the_site_is_deployed(https, token):
    first, second = await https.get(URL), await https.get(URL)
    assert [answer.headers["X-Cache"] for answer in (first, second)] == ["MISS", "HIT"]
    assert second.headers["Age"] == "0"
    assert (await https.get(f"{URL}/?fresh=1")).headers["X-Cache"] == "MISS"
    assert (await upload(https, frontends.archive_of("web", "v1.2.2"), token)).status_code == 200
    for address in (URL, "https://www.fundrbolt.com"):
        third = await https.get(address)
        assert (third.headers["X-Cache"], "v1.2.2" in third.text) == ("MISS", True)


async def test_a_stale_edge_goes_on_answering_what_it_had_until_it_is_repaired(https, control, token):
    control.break_("swa-stale-edge")
    await upload(https, frontends.archive_of("web", "v1.2.2"), token)
    for query in ("", "?fresh=1"):
        stale = await https.get(f"https://www.fundrbolt.com/version.json{query}")
        assert (stale.json()["version"], stale.headers["X-Cache"]) == ("v1.2.3", "HIT")
        assert int(stale.headers["Age"]) >= 0
    new = next(path for path in files_of(frontends.archive_of("web", "v1.2.2")) if path.endswith(".js"))
    assert (await https.get(f"{URL}/{new}")).headers["X-Cache"] == "MISS"
    assert control.status().static_sites[SITE].version == "v1.2.2"
    control.repair("swa-stale-edge")
    fresh = await https.get("https://www.fundrbolt.com/version.json")
    assert (fresh.json()["version"], fresh.headers["X-Cache"]) == ("v1.2.2", "MISS")


def answered(files: dict[str, str], path: str) -> tuple[int, bytes]:
    content = archives.check(zipped(files), "Free")
    found = hosting.answer(content, path, SINCE, [])
    return found.status, found.body if found.status == 200 else b""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", (200, b"root")),
        ("/contact", (200, b"contact")),
        ("/contact.html", (200, b"contact")),
        ("/about", (200, b"about")),
        ("/about/", (200, b"about")),
        ("/nosuch", (404, b"")),
        ("/../index.html", (404, b"")),
    ],
)
def test_paths_lead_to_files_as_on_static_web_apps(path, expected):
    files = {"index.html": "root", "contact.html": "contact", "about/index.html": "about"}
    assert answered(files, path) == expected


@pytest.mark.parametrize(
    ("exclude", "path", "status"),
    [
        (["/images/*.{png,jpg}", "/css/*"], "/images/a/b.png", 404),
        (["/images/*.{png,jpg}", "/css/*"], "/images/a.gif", 200),
        (["/images/*.{png,jpg}", "/css/*"], "/css/", 404),
        (["*.{png,jpg}"], "/deep/a.jpg", 404),
        (["/a{"], "/b", 200),
        (["/a{"], "/a{", 404),
    ],
)
def test_the_fallback_leaves_out_what_is_excluded(exclude, path, status):
    told = json.dumps({"navigationFallback": {"rewrite": "/index.html", "exclude": exclude}})
    assert answered({"index.html": "root", "staticwebapp.config.json": told}, path)[0] == status


def test_an_empty_header_takes_one_away_and_another_replaces_it():
    told = json.dumps({"globalHeaders": {"x-xss-protection": "", "referrer-policy": "no-referrer"}})
    content = archives.check(zipped({"index.html": "root", "staticwebapp.config.json": told}), "Free")
    headers = {name.lower(): value for name, value in hosting.answer(content, "/", SINCE, []).headers.items()}
    assert headers["referrer-policy"] == "no-referrer"
    assert "x-xss-protection" not in headers
    assert "x-content-type-options" in headers


def test_each_release_and_frontend_has_its_own_names_and_always_the_same_bytes():
    archives_made = {
        (frontend, release): frontends.archive_of(frontend, release)
        for frontend in frontends.FRONTENDS
        for release in RELEASES
    }
    assets = [path for made in archives_made.values() for path in files_of(made) if path.startswith("assets/")]
    assert len(set(assets)) == len(assets) == 2 * len(archives_made)
    for (frontend, release), made in archives_made.items():
        files = files_of(made)
        assert json.loads(files["version.json"]) == {"version": release, "frontend": frontend}
        for asset in (path for path in files if path.startswith("assets/")):
            assert f'"/{asset}"'.encode() in files["index.html"]
        assert frontends.archive(frontends.sources_of(release), frontend) == made
    with pytest.raises(ValueError, match="no release"):
        frontends.sources_of("v9")


async def test_the_bad_releases_page_asks_where_the_api_has_nothing(https):
    def script(release: str) -> str:
        files = files_of(frontends.archive_of("web", release))
        return next(content.decode() for path, content in files.items() if path.endswith(".js"))

    assert "/api/v1/donations" in script("v1.2.2")
    assert "/api/v2/donations" in script("v1.2.3")
    assert "/api/v1/donations" not in script("v1.2.3")
    answer = await https.get("https://api.fundrbolt.com/api/v2/donations?limit=5")
    # 500 is what this release's API answers now and then, whatever it is asked.
    assert answer.status_code in (404, 500)


async def test_the_api_lets_exactly_the_platforms_pages_read_it_through_the_caching_front_too(https, arm, swapped):
    await arm.swap()
    await swapped(1)
    for origin in sorted(cors.ORIGINS):
        for _ in range(2):
            answer = await https.get(API, headers={"Origin": origin})
            assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, origin)
            assert answer.headers["Vary"] == "Origin"
        assert answer.headers["X-Cache"] == "HIT"
    for origin in ("https://example.com", "http://www.fundrbolt.com", "null"):
        answer = await https.get(API, headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Access-Control-Allow-Origin" not in (await https.get(API)).headers
    missing = await https.get("https://api.fundrbolt.com/api/v2/donations", headers={"Origin": origin})
    assert missing.headers["Vary"] == "Origin"


def deploy_script(
    tree: Path, environment: dict[str, str], frontend: str, **more: str
) -> subprocess.CompletedProcess[str]:
    kept = {name: environment[name] for name in ("HTTPS_PROXY", "SSL_CERT_FILE", "NO_PROXY")}
    words = {"PATH": os.environ["PATH"], "SWA_CLI_APP_NAME": SITE, **kept, **more}
    command = [str(tree / "frontend" / "deploy.sh"), frontend]
    return subprocess.run(command, env=words, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def tree(environment, tmp_path) -> Path:
    """What a developer checks out of the platform's repository at v1.2.2."""
    subprocess.run(
        ["git", "clone", "--quiet", "--branch", "v1.2.2", environment["ROLLBACK_REPOSITORY"], tmp_path / "tree"],
        check=True,
        capture_output=True,
    )
    return tmp_path / "tree"


def test_the_platforms_own_script_deploys_what_the_releases_build_makes(control, environment, tree, token, tmp_path):
    done = deploy_script(tree, environment, "web", SWA_CLI_DEPLOYMENT_TOKEN=token)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "building web",
        f"built web v1.2.2: {len(frontends.archive_of('web', 'v1.2.2'))} bytes",
        f"uploading to {SITE}",
        f"{SITE} serves v1.2.2",
    ]
    (told,) = control.frontend_deployments()
    assert (told.site, told.by, told.version, told.outcome) == (SITE, "token", "v1.2.2", "succeeded")
    subprocess.run(["python3", tree / "frontend" / "build.py", "admin", tmp_path / "a.zip"], check=True)
    assert (tmp_path / "a.zip").read_bytes() == frontends.archive_of("admin", "v1.2.2")


def test_the_platforms_own_script_says_why_it_failed(control, environment, tree, token):
    refused = deploy_script(tree, environment, "web", SWA_CLI_DEPLOYMENT_TOKEN="wrong")  # noqa: S106 - not a token
    assert refused.returncode == 1
    assert "deployment failed: 401" in refused.stderr
    assert deploy_script(tree, environment, "nosuch", SWA_CLI_DEPLOYMENT_TOKEN=token).returncode == 2
    assert deploy_script(tree, environment, "web").returncode == 2
    control.break_("swa-answer-lost-after")
    lost = deploy_script(tree, environment, "web", SWA_CLI_DEPLOYMENT_TOKEN=token)
    assert (lost.returncode, token in lost.stderr + lost.stdout) == (1, False)
    assert control.status().static_sites[SITE].version == "v1.2.2"
