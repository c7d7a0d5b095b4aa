"""`make drill MODE=frontend`: a website without its donations, and the earlier release; held against the visits."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the drill printed, and its folder."""
    state = tmp_path_factory.mktemp("drill")
    command = [sys.executable, "-m", "deployments.drill", "--mode", "frontend", "--state", str(state)]
    theirs = ("PREFECT_", "ROLLBACK_", "AZURE_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = state.iterdir()
    return done.stdout, folder


def test_visitors_get_the_earlier_release_which_works_for_all_of_them(drilled: tuple[str, Path]) -> None:
    told, folder = drilled
    order = [
        "The backend of production is v1.2.2 again",
        "shows no donations: api.fundrbolt.com/api/v2/donations is answered 404.",
        "web and admin back from v1.2.3 to v1.2.2",
        "www.fundrbolt.com: serves v1.2.2",
        "✓ rolled back: production's web and admin serve v1.2.2 again, verified from outside.",
        "✓ drill: visitors get v1.2.2 again",
    ]
    places = [told.index(each) for each in order]
    assert places == sorted(places)
    visits = [json.loads(line) for line in (folder / "visits.jsonl").read_text(encoding="utf-8").splitlines()]
    last_bad = max(number for number, each in enumerate(visits) if each["problem"])
    assert {each["version"] for each in visits[last_bad + 1 :]} == {"v1.2.2"}
    before = re.search(
        r"  before +(\d+) visitors, \1 got a page that does not work \(100%\); served \1 by v1\.2\.3", told
    )
    after = re.search(r"  after +(\d+) visitors, the page worked for all; served \1 by v1\.2\.2", told)
    assert before is not None
    assert after is not None
    assert min(int(before[1]), int(after[1])) >= 5


def test_pictures_of_before_and_after_are_kept_and_named_where_there_is_a_browser(drilled: tuple[str, Path]) -> None:
    told, folder = drilled
    pictures = [folder / "before.png", folder / "after.png"]
    if shutil.which("chromium") is None or shutil.which("certutil") is None:
        assert "Not looked at in a browser: " in told
        return
    assert f"In a browser: {pictures[0]} and {pictures[1]}" in told
    contents = [each.read_bytes() for each in pictures]
    assert all(each.startswith(PNG) for each in contents)
    assert contents[0] != contents[1]
