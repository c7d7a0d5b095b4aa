"""`rollback versions`: what each frontend serves, beside the builds of the backend."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support import World

from deployments.procedures import open_store
from deployments.versions import show_versions
from rollback.releases import Build
from rollback.served import Served, Verdict
from rollback.settings import load_settings


def change(old: str, new: str) -> None:
    """Change the platform file that is in use."""
    file = Path(os.environ["ROLLBACK_CONFIG"])
    content = file.read_text(encoding="utf-8")
    assert old in content
    file.write_text(content.replace(old, new), encoding="utf-8")


async def test_what_each_frontend_serves_and_what_is_known_of_it_is_listed(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    at = datetime(2026, 3, 1, 10, 2, tzinfo=UTC)
    known = Served(
        at=at, environment="production", build=Build(image="", release="v1.2.3"), verdict=Verdict.BAD, run="1f6c20ab"
    )
    open_store(load_settings()).served_frontend("production", "web").add(known)
    await show_versions(load_settings(), "production", as_json=False)
    lines = capsys.readouterr().out.splitlines()
    table = [" ".join(each.split()) for each in lines[lines.index("") + 1 :]]
    assert table[0] == "frontend static web app serves deployed known to have served"
    assert table[1].startswith("web fundrbolt-production-web v1.2.3 20")
    assert table[1].endswith("UTC bad, 2026-03-01 10:02 UTC (run 1f6c20ab)")
    assert table[2].startswith("admin fundrbolt-production-admin v1.2.3 20")
    assert "run" not in table[2]
    await show_versions(load_settings(), "production", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert [(each["frontend"], each["serves"], each["problem"]) for each in told["frontends"]] == [
        ("web", "v1.2.3", ""),
        ("admin", "v1.2.3", ""),
    ]
    assert {each["release"] for each in told["versions"]} == {"v1.2.1", "v1.2.2", "v1.2.3"}


async def test_a_frontend_that_cannot_be_read_is_named_and_an_environment_without_any_has_no_table(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    change('app = "fundrbolt-production-admin"', 'app = "no-such-app"')
    await show_versions(load_settings(), "production", as_json=False)
    told = capsys.readouterr()
    assert "web fundrbolt-production-web v1.2.3" in " ".join(told.out.split())
    assert "admin no-such-app unknown" in " ".join(told.out.split())
    assert "What admin serves could not be read: " in told.err
    await show_versions(load_settings(), "staging", as_json=False)
    assert "frontend" not in capsys.readouterr().out
