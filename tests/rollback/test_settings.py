import re
from pathlib import Path

import pytest
from support import ROOT

from rollback.errors import NoFrontends, NoGitHub, SettingsInvalid, UnknownEnvironment
from rollback.settings import load_settings

GOOD = """
[azure]
subscription_id = "11111111-1111-4111-8111-111111111111"
[environments.production.backend]
resource_group = "rg"
app = "app"
"""


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_SUBSCRIPTION_ID", "ROLLBACK_STATE", "ROLLBACK_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def written(folder: Path, content: str) -> Path:
    file = folder / "fundrbolt.toml"
    file.write_text(content, encoding="utf-8")
    return file


def test_a_group_and_an_app_are_all_that_must_be_said(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, GOOD))
    assert settings.backend("production").app == "app"
    assert settings.backend("production").probes.health == ("/health",)


def test_environment_variables_win_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "another")
    monkeypatch.setenv("ROLLBACK_STATE", str(tmp_path / "elsewhere"))
    settings = load_settings(written(tmp_path, GOOD))
    assert settings.azure.subscription_id == "another"
    assert settings.state.directory == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (('app = "app"', "ap = 1"), r"environments\.production\.backend\.app: Field required.*backend\.ap: Extra"),
        (('app = "app"', 'app = "app"\npublic_url = "http://x"'), r"backend\.public_url: .*https"),
        (('app = "app"', 'app = "app"\nsettle_seconds = "soon"'), r"backend\.settle_seconds"),
        (("[azure]", "[azure"), r"fundrbolt\.toml cannot be read"),
        (("[environments.production.backend]", "[environments.production.backnd]"), r"production\.backend: Field req"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, change: tuple[str, str], named: str) -> None:
    with pytest.raises(SettingsInvalid, match=named):
        load_settings(written(tmp_path, GOOD.replace(*change)))


def test_a_wrong_value_is_not_repeated_since_it_may_be_a_secret(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid) as raised:
        load_settings(written(tmp_path, GOOD.replace('app = "app"', 'app = "app"\npassword = "hunter2"')))
    assert "password" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_missing_subscription_is_named_with_both_places(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"AZURE_SUBSCRIPTION_ID, or azure\.subscription_id"):
        load_settings(written(tmp_path, GOOD.replace("subscription_id", "#")))


def test_a_missing_platform_file_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsInvalid, match="--config or ROLLBACK_CONFIG"):
        load_settings()


def test_an_unknown_environment_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownEnvironment, match=r"no environment 'prod'.*production"):
        load_settings(written(tmp_path, GOOD)).backend("prod")


FRONTENDS = f"""
{GOOD}
[environments.production.frontends.web]
resource_group = "rg"
app = "app-web"
artifact = "web.zip"
calls = ["https://api.example.org/health"]
[environments.production.frontends.admin]
resource_group = "rg"
app = "app-admin"
way = "script"
script = {{ command = ["scripts/deploy.sh"] }}
[environments.production.workflow]
file = "deploy.yml"
[github]
repository = "fundrbolt/platform"
vault = "vault"
secret = "github-token"
"""


def test_frontends_their_workflow_and_repository_are_read(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, FRONTENDS))
    assert list(settings.frontends("production")) == ["web", "admin"]
    assert list(settings.frontends("production", ["admin", "admin"])) == ["admin"]
    assert settings.workflow("production").file == "deploy.yml"
    github = settings.repository_on_github()
    assert (github.owner, github.name) == ("fundrbolt", "platform")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (('artifact = "web.zip"', ""), r"frontends\.web: .*way 'artifact' needs artifact"),
        (("script =", "#"), r"frontends\.admin: .*way 'script' needs script\.command"),
        (('["scripts/deploy.sh"]', "[]"), r"frontends\.admin\.script\.command: .*at least 1"),
        (('sh"] }', 'sh"], token_variable = "A B" }'), r"admin\.script\.token_variable: .*match pattern"),
        (('way = "script"', 'way = "by hand"'), r"frontends\.admin\.way: .*'artifact' or 'script'"),
        (
            ("https://api.example.org", "http://api.example.org"),
            r"frontends\.web\.calls\.0: .*must be an https address",
        ),
        (('["https://api.example.org/health"]', '["https:///x"]'), r"web\.calls\.0: .*must be an https address"),
        (('"web.zip"', '"web.zip"\nversion = { path = "about" }'), r"frontends\.web\.version\.path"),
        (('"web.zip"', '"web.zip"\nverify_within_seconds = 0'), r"web\.verify_within_seconds: .*greater than 0"),
        (('"web.zip"', '"web.zip"\nshow = "x"'), r"frontends\.web\.show: Extra"),
        (('"deploy.yml"', '"../deploy.yml"'), r"production\.workflow\.file: .*match pattern"),
        (('"deploy.yml"', '"deploy.sh"'), r"production\.workflow\.file: .*match pattern"),
        (('"fundrbolt/platform"', '"platform"'), r"github\.repository: .*match pattern"),
        (('secret = "github-token"', 'token = "ghp_1"'), r"github\.secret: Field required.*github\.token: Extra"),
    ],
)
def test_a_wrong_field_of_a_frontend_is_named(tmp_path: Path, change: tuple[str, str], named: str) -> None:
    with pytest.raises(SettingsInvalid, match=named) as raised:
        load_settings(written(tmp_path, FRONTENDS.replace(*change)))
    assert "ghp_1" not in str(raised.value)


def test_what_the_file_does_not_know_of_frontends_is_told_with_where_to_say_it(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, FRONTENDS.replace("[environments.production.workflow]", "[prefect]")
                                     .replace('file = "deploy.yml"', "")))  # fmt: skip
    with pytest.raises(NoFrontends, match=r"no frontend 'wep' in the platform file\. It knows: web, admin\."):
        settings.frontends("production", ["wep"])
    with pytest.raises(NoFrontends, match=r"environments\.production\.workflow of .*fundrbolt\.toml"):
        settings.workflow("production")
    bare = load_settings(written(tmp_path, GOOD))
    with pytest.raises(NoFrontends, match=r"no frontend in .*environments\.production\.frontends\.NAME of"):
        bare.frontends("production")
    with pytest.raises(NoGitHub, match=r"vault and secret in \[github\] of .*fundrbolt\.toml"):
        bare.repository_on_github()


@pytest.mark.parametrize(
    ("patterns", "why"),
    [
        ('["*"]', "it has to be asked for, each time"),
        ('["?*"]', "it has to be asked for, each time"),
        ('["[^a]*", "a*"]', "it has to be asked for, each time"),
        ('[""]', "an empty pattern matches no key"),
        ('["jwt_*"]', "reaches 'jwt_blacklist:*' of revocations, which is never a default"),
        ('["jwt_blacklist:*"]', "reaches 'jwt_blacklist:*' of revocations, which is never a default"),
        ('["*:daily"]', "reaches"),
        ('["cel?ry"]', "reaches 'celery' of protected, which is never a default"),
    ],
)
def test_a_default_that_reaches_what_is_declared_is_refused(tmp_path: Path, patterns: str, why: str) -> None:
    content = (ROOT / "deployments" / "fundrbolt.toml").read_text(encoding="utf-8")
    file = tmp_path / "fundrbolt.toml"
    defaults = 'patterns = ["cache:*", "session:*", "ratelimit:*"]'
    file.write_text(content.replace(defaults, f"patterns = {patterns}", 1), encoding="utf-8")
    with pytest.raises(SettingsInvalid, match=re.escape(why)):
        load_settings(file)


def test_a_list_of_revoked_tokens_is_declared_unless_the_file_says_that_there_is_none(tmp_path: Path) -> None:
    cache = '[environments.production.cache]\nresource_group = "rg"\nname = "cache"\n'
    settings = load_settings(written(tmp_path, GOOD + cache)).cache("production")
    assert ("revocations", "jwt_blacklist:*") in settings.guards
    with pytest.raises(SettingsInvalid, match=r"reaches 'jwt_blacklist:\*' of revocations"):
        load_settings(written(tmp_path, GOOD + cache + 'patterns = ["jwt_*"]\n'))
    without = written(tmp_path, GOOD + cache + 'patterns = ["jwt_*"]\nrevocations = []\n')
    assert load_settings(without).cache("production").guards == ()


def test_a_managed_cache_has_no_other_database_than_its_first(tmp_path: Path) -> None:
    cache = '[environments.production.cache]\nresource_group = "rg"\nname = "cache"\nredis_database = 1\n'
    assert load_settings(written(tmp_path, GOOD + cache)).cache("production").redis_database == 1
    with pytest.raises(SettingsInvalid, match="redis_database: an Azure Managed Redis has only 0"):
        load_settings(written(tmp_path, GOOD + cache + 'kind = "managed"\n'))
