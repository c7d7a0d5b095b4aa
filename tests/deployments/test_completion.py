"""What a shell offers while a command is typed, asked as shells ask."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from report_runs import START
from support import PLATFORM_FILE

from rollback.outcomes import EndState
from rollback.runs import Outcome, RunHeader, Store

ROLLBACK = str(Path(sys.executable).parent / "rollback")
Ask = Callable[..., list[str]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """What is offered for the last of the words."""

    def asks(*words: str, config: Path = PLATFORM_FILE, **environment: str) -> list[str]:
        line = ["rollback", *words]
        told = subprocess.run(
            [ROLLBACK],
            env={
                "_ROLLBACK_COMPLETE": "bash_complete",
                "COMP_WORDS": " ".join(line),
                "COMP_CWORD": str(len(line) - 1),
                "ROLLBACK_CONFIG": str(config),
                "ROLLBACK_STATE": str(tmp_path),
                **environment,
            },
            check=True,
            capture_output=True,
            text=True,
        )
        assert told.stderr == ""
        return [line.partition(",")[2] for line in told.stdout.splitlines() if line]

    return asks


def keep(
    folder: Path, run: str, environment: str, end_state: EndState | None, procedure: str = "roll-back-backend"
) -> None:
    begun = {"run": run, "procedure": procedure, "environment": environment, "started_at": START}
    kept = Store(folder).create(RunHeader(reason="", **begun))
    if end_state is not None:
        kept.keep_outcome(Outcome(end_state=end_state, headline="", ended_at=START, **begun))


def test_environments_are_those_of_the_platform_file(ask: Ask) -> None:
    assert ask("plan", "roll-back-backend", "-e", "") == ["production", "staging", "dev"]
    assert ask("plan", "roll-back-backend", "--environment", "st") == ["staging"]


def test_releases_are_those_of_the_manifest_the_newest_first(ask: Ask) -> None:
    assert ask("run", "roll-back-backend", "--release", "v1.2") == ["v1.2.3", "v1.2.2", "v1.2.1"]


def test_only_runs_that_may_be_resumed_are_offered_for_it(ask: Ask, tmp_path: Path) -> None:
    keep(tmp_path, "aaaa0001", "production", EndState.ROLLED_BACK)
    keep(tmp_path, "aaaa0002", "production", EndState.OUTCOME_UNKNOWN)
    keep(tmp_path, "aaaa0003", "production", None)
    keep(tmp_path, "aaaa0004", "staging", EndState.PART_WAY)

    words = ("run", "roll-back-backend", "-e", "production")
    assert set(ask(*words, "--resume", "")) == {"aaaa0002", "aaaa0003"}
    assert set(ask(*words, "--abandon", "")) == {"aaaa0002", "aaaa0003"}
    assert set(ask("run", "roll-back-backend", "--resume", "")) == {"aaaa0002", "aaaa0003", "aaaa0004"}
    assert set(ask("approve", "aaaa")) == {"aaaa0001", "aaaa0002", "aaaa0003", "aaaa0004"}


def test_only_restores_are_offered_to_be_undone(ask: Ask, tmp_path: Path) -> None:
    keep(tmp_path, "aaaa0001", "production", EndState.RESTORED, "restore-database")
    keep(tmp_path, "aaaa0002", "staging", EndState.RESTORED, "restore-database")
    keep(tmp_path, "aaaa0003", "production", EndState.ROLLED_BACK)

    assert ask("run", "undo-restore-database", "-e", "production", "--restore", "") == ["aaaa0001"]


@pytest.mark.parametrize("content", [None, "not toml [", "environments = 3\nstate = 4\nreleases = 5"])
def test_what_cannot_be_read_is_not_offered_and_nothing_is_said(ask: Ask, tmp_path: Path, content: str | None) -> None:
    config = tmp_path / "broken.toml"
    if content is not None:
        config.write_text(content, encoding="utf-8")
    keep(tmp_path, "aaaa0001", "production", None)
    (tmp_path / "runs" / "aaaa0001" / "run.json").write_text("{", encoding="utf-8")

    assert ask("plan", "roll-back-backend", "-e", "", config=config) == []
    assert ask("plan", "roll-back-backend", "--release", "", config=config) == []
    assert ask("approve", "", config=config) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_one_that_it_can_read(shell: str) -> None:
    script = subprocess.run([ROLLBACK, "completion", shell], check=True, capture_output=True, text=True).stdout
    assert "_ROLLBACK_COMPLETE" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, check=True, capture_output=True, text=True)


def test_the_help_says_how_to_install_it() -> None:
    told = subprocess.run([ROLLBACK, "completion", "--help"], check=True, capture_output=True, text=True).stdout
    for where in ("bash-completion/completions/rollback", ".zfunc/_rollback", "fish/completions/rollback.fish"):
        assert where in told


def test_a_terminal_without_the_marks_is_told_all_the_same(tmp_path: Path) -> None:
    keep(tmp_path, "aaaa0001", "production", EndState.ROLLED_BACK)
    told = subprocess.run(
        [ROLLBACK, "status"],
        env={
            "PYTHONIOENCODING": "latin-1",
            "ROLLBACK_CONFIG": str(PLATFORM_FILE),
            "ROLLBACK_STATE": str(tmp_path),
            "AZURE_SUBSCRIPTION_ID": "11111111-1111-4111-8111-111111111111",
        },
        check=True,
        capture_output=True,
    )
    assert b"? rolled back after" in told.stdout
