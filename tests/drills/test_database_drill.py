"""`make drill MODE=database`: damaged by a release, restored to the instant before; held against the users' notes."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

from support import ROOT


def test_a_damaged_database_is_as_it_was_and_nothing_is_lost_but_what_the_bill_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deployments.drill", "--mode", "database", "--state", str(tmp_path)]
    theirs = ("PREFECT_", "ROLLBACK_", "AZURE_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    order = [
        "v1.2.3 reached production",
        "rolled back: production serves v1.2.2 again",
        "Approved: signed by Lead",
        "Approved: signed by Second",
        "Stop writers done",
        "Restore beside done",
        "Export lost rows done",
        "Cut over done",
        "Prove in use done",
        "✓ restored: production uses its database as of",
        "✓ drill: the database is as it was",
    ]
    places = [done.stdout.index(each) for each in order]
    assert places == sorted(places)
    notes = re.search(r"Donations of before .*: (\d+) as they were, 0 not\.", done.stdout)
    assert notes is not None
    assert int(notes[1]) > 0
    report = Path(done.stdout.splitlines()[-1].removeprefix("Report: "))
    page = report.read_text(encoding="utf-8")
    assert "Lead (lead@fundrbolt.com" in page
    assert "Data loss, actual" in page
    with zipfile.ZipFile(report.parent / "lost-rows.zip") as lost:
        assert "load.sql" in {Path(name).name for name in lost.namelist()}
