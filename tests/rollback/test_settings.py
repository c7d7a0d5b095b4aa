from pathlib import Path

import pytest

from rollback.errors import SettingsInvalid, UnknownEnvironment
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
