"""`rollback archives`, and what is asked of whoever archives or reverts: read from files only."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from support import PLATFORM_FILE

from deployments.archives import show_archives
from deployments.completion import archives as offered_archives
from deployments.completion import resources as offered_resources
from deployments.options import check_usage, need_target, with_own
from deployments.procedures import Request, open_store
from rollback.resources.archives import Archived, name_of, replaced_by
from rollback.settings import Settings, load_settings

ID = "/subscriptions/1/resourceGroups/rg/providers/Microsoft.Web/sites/app"
AT = datetime(2026, 3, 1, 3, 17, tzinfo=UTC)
REVERT = "revert-resource"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("ROLLBACK_CONFIG", str(PLATFORM_FILE))
    monkeypatch.setenv("ROLLBACK_STATE", str(tmp_path))
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "1")
    return load_settings()


def keep(settings: Settings, days: int, *, replaced: bool = False, **properties: object) -> None:
    at = AT + timedelta(days=days)
    name = replaced_by("1f6c20ab", at) if replaced else name_of(at)
    kept = Archived(id=ID, type="Microsoft.Web/sites", api_version="2025-05-01", content={"properties": properties})
    archives = open_store(settings).archives("production")
    archives.keep(name, at, "1f6c20ab", [kept], {f"{ID}2": "HTTP 500"} if days == 1 else {})


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_archives_are_listed_with_what_changed_between_them(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(settings, 0, alwaysOn=True)
    keep(settings, 1, alwaysOn=True)
    keep(settings, 2, alwaysOn=False)
    keep(settings, 3, replaced=True)
    show_archives(settings, "production", None, as_json=False)
    assert lines(capsys) == [
        "  2026-03-04T031700.000Z-before-1f6c20ab  app as it was before run 1f6c20ab",
        "  2026-03-03T031700.000Z  1 resources, 1 changed",
        "  2026-03-02T031700.000Z  1 resources, 0 changed, 1 could not be read",
        "  2026-03-01T031700.000Z  1 resources",
    ]
    show_archives(settings, "production", ID.upper().replace("/SUBSCRIPTIONS", "/subscriptions"), as_json=True)
    told = json.loads(capsys.readouterr().out)["archives"]
    assert [each["words"] for each in told] == ["changed", "changed", "as before", "first seen"]


def test_a_damaged_archive_is_listed_as_damaged_between_the_others(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for days in range(3):
        keep(settings, days, alwaysOn=days < 2)
    (broken,) = tmp_path.rglob("2026-03-02*/index.json")
    broken.write_text(broken.read_text(encoding="utf-8")[:40], encoding="utf-8")
    show_archives(settings, "production", None, as_json=False)
    assert lines(capsys) == [
        "  2026-03-03T031700.000Z  1 resources, 1 changed",
        "  2026-03-02T031700.000Z  damaged: its index is not what was written",
        "  2026-03-01T031700.000Z  1 resources",
    ]
    show_archives(settings, "production", ID, as_json=True)
    told = json.loads(capsys.readouterr().out)["archives"]
    assert [each["words"].partition(":")[0] for each in told] == ["changed", "damaged", "first seen"]


def test_without_an_archive_it_says_how_to_make_one(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    show_archives(settings, "production", None, as_json=False)
    (told,) = lines(capsys)
    assert told.startswith("No archive of 'production' is there")
    assert told.endswith("rollback run archive -e production")


def test_a_shell_offers_archives_and_the_resources_in_the_newest(settings: Settings) -> None:
    keep(settings, 0)
    keep(settings, 1)
    context = click.Context(click.Command("run"))
    context.params["environment"] = "production"
    parameter = click.Option(["--archive"])
    offered = [each.value for each in offered_archives(context, parameter, "2026-03")]
    assert offered == ["2026-03-02T031700.000Z", "2026-03-01T031700.000Z"]
    assert [each.value for each in offered_resources(context, parameter, "/subscr")] == [ID]
    context.params["environment"] = "dev"
    assert offered_resources(context, parameter, "") == []


@pytest.mark.parametrize(
    ("procedure", "options", "why"),
    [
        (REVERT, {}, "Missing option '--resource'"),
        (REVERT, {"resource": ID, "archive": "a", "from_git": "b:c"}, "exclude each other"),
        ("roll-back-backend", {"resource": ID}, "--resource goes with revert-resource only"),
        ("archive", {"only": ("properties",)}, "--only goes with revert-resource only"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(procedure: str, options: dict[str, object], why: str) -> None:
    with pytest.raises(click.UsageError, match=why):
        need_target(with_own(Request(procedure, "production"), options))


@pytest.mark.parametrize("procedure", [REVERT, "archive"])
def test_no_release_goes_with_them(procedure: str) -> None:
    with pytest.raises(click.UsageError, match="--release does not go with"):
        with_own(Request(procedure, "production", "v1.2.2"), {"resource": ID} if procedure == REVERT else {})


def test_what_was_asked_for_reaches_the_flow() -> None:
    own = {"resource": ID, "archive": "2026", "from_git": None, "only": ("properties.a",)}
    asked = with_own(Request(REVERT, "production", reason="why"), own)
    assert asked.parameters() == {
        "environment": "production",
        "reason": "why",
        "dry_run": False,
        "resume": "",
        "resource": ID,
        "archive": "2026",
        "from_git": "",
        "only": ["properties.a"],
    }
    check_usage(None, "by hand", None, None, dry_run=False)
    assert set(Request("archive", "production").parameters()) == {"environment", "reason", "dry_run", "resume"}
