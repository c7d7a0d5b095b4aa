"""`make drill MODE=migration`: refused for its schema, taken down, served; the figures held against users' and seed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from support import ROOT

from sandbox.fundrbolt.seeding import DONATIONS

TIPS = DONATIONS // 3
"""Every third donation was seeded with one, and no release that serves here adds any."""


def test_a_release_that_cannot_use_the_schema_serves_once_it_is_taken_down_and_users_notice_nothing(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "deployments.drill", "--mode", "migration", "--state", str(tmp_path)]
    theirs = ("PREFECT_", "ROLLBACK_", "AZURE_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=420, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    order = [
        "✗ refused: The database is at e2a8c40b7f15; v1.2.1 runs on b7d04e9f6c21 to d95a3b1e7f08.",
        "rolled back: production serves v1.2.2 again",
        "Alembic runs in: the container of fundrbolt-production-api/staging",
        f"Data loss: {TIPS} values of donations.tip_cents will be lost",
        "✓ planned",
        "Approved: signed by Lead",
        "Approved: signed by Second",
        "Running downgrade e2a8c40b7f15 -> d95a3b1e7f08",
        "✓ downgraded: production's schema is at revision d95a3b1e7f08",
        "rolled back: production serves v1.2.1 again",
        f"Values of donations.tip_cents: {TIPS} to be lost by the plan, {TIPS} lost.",
        "Donations that users were told of: 0 missing.",
        "✓ drill: v1.2.1 serves",
    ]
    places = [done.stdout.index(each) for each in order]
    assert places == sorted(places)
    assert "Run 'rollback run downgrade-database -e production --target d95a3b1e7f08' first" in done.stdout
    rows = re.search(r"Donations of before: (\d+) as they were otherwise, 0 not\.", done.stdout)
    assert rows is not None
    assert int(rows[1]) >= DONATIONS
    assert_users_got_what_is_told(tmp_path, done.stdout)
    report = Path(done.stdout.splitlines()[-1].removeprefix("Report: "))
    page = report.read_text(encoding="utf-8")
    assert f"{TIPS} values of donations.tip_cents will be lost" in page
    assert "Lead (lead@fundrbolt.com" in page


def assert_users_got_what_is_told(folder: Path, told: str) -> None:
    """By the traffic generator's own notes: nobody failed once the bad release was gone."""
    (notes,) = folder.glob("*/traffic.jsonl")
    lines = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    seen = [each for each in lines if "t" in each]
    last_bad = max(number for number, each in enumerate(seen) if "v1.2.3" in each["by_version"])
    assert not [each for each in seen[last_bad + 1 :] if each["requests"] != each["ok"]]
    for part in ("going down", "v1.2.1 comes"):
        figures = re.search(rf"  {part} +(\d+) requests, none failed; answered (.*)", told)
        assert figures is not None
        assert sum(map(int, re.findall(r"(\d+) by v1\.2\.[12]", figures[2]))) == int(figures[1]) > 0
