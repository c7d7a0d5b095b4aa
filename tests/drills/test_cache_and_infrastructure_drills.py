"""`make drill MODE=cache` and `MODE=infrastructure`: what each breaks and mends, held against what users got."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT


@pytest.fixture(scope="module", params=["cache", "infrastructure"])
def drilled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    """The mode, what the drill printed, and its folder."""
    state = tmp_path_factory.mktemp("drill")
    command = [sys.executable, "-m", "deployments.drill", "--mode", request.param, "--state", str(state)]
    theirs = ("PREFECT_", "ROLLBACK_", "AZURE_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = state.iterdir()
    return request.param, done.stdout, folder


TOLD = {
    "cache": [
        "its cache holds pages as v1.2.3 wrote them",
        "the keys of cache:donations:* out of production's cache 'fundrbolt-production-redis', by a full scan of",
        "Approved: signed by Lead",
        "no key is left that was there at",
        "fundrbolt-production-api is restarted.",
        "✓ cleared: the keys of cache:donations:* that there were are gone",
        "✓ drill: users are served by v1.2.2, without what v1.2.3 had left in the cache",
    ],
    "infrastructure": [
        "its infrastructure is v1.2.3's, and payments are slow",
        "production's infrastructure back to v1.2.2",
        "Approved: signed by Second",
        "Archived the template of 'fundrbolt-infrastructure'",
        "what-if finds nothing left to change",
        "Microsoft.Storage/storageAccounts 'fundrboltreceipts' stays: incremental mode deletes nothing.",
        "✓ rolled back: production's infrastructure is as v1.2.2",
        "✓ drill: users are served on v1.2.2's infrastructure",
    ],
}


def test_users_get_good_answers_only_once_it_is_done(drilled: tuple[str, str, Path]) -> None:
    mode, told, folder = drilled
    places = [told.index(each) for each in TOLD[mode]]
    assert places == sorted(places)
    before = re.search(r"  before +(\d+) requests, (\d+) failed \(\d+%\); answered (\d+) by v1\.2\.2", told)
    after = re.search(r"  after +(\d+) requests, none failed; answered \1 by v1\.2\.2", told)
    assert before is not None
    assert after is not None
    assert int(before[2]) > 0
    lines = (folder / "traffic.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])
    assert "does not wait for an approval" not in told
