"""Kill the run, the worker or the Prefect server at random moments of a rollback, resume it, and see it end right.

Not a test of the suite: `make torture` takes up to 40 minutes. Right is: production serves v1.2.2 and the slot holds
v1.2.3, Azure executed exactly one swap, the run ended `rolled back`, and the environment is free. What broke is told,
and its evidence kept. The seed that is printed makes the same choices again.
"""

import json
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import httpx
import psutil
from prefect_headers import prefect_headers
from support import ROOT, V2, V3, quick_platform_file

from deployments.local_platform import SERVER, LocalPlatform
from deployments.worker.custody import Custody
from rollback.errors import RollbackError
from rollback.outcomes import EndState
from rollback.runs import Store
from sandbox.control import Control

VICTIMS = {"run": 3, "worker": 2, "worker and run": 3, "server": 2}
"""With how often each is chosen."""
BY_WORKER, BY_RETRY, BY_RESUME = "worker", "retry in the UI", "--resume"
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
LATE_SWAP_SECONDS = 1.5
LOOK_SECONDS = 0.02
ROUND_SECONDS = 120.0
BEFORE_JOURNAL_SECONDS = 0.8


class Broken(Exception):
    """A round that did not end right."""


@dataclass
class Round:
    """What was done in one round, and what came of it."""

    number: int
    victim: str
    way: str
    moment: str = "before it began"
    resumed: str = "went on by itself"
    result: str = "right"
    served_seconds: float = 0.0
    """From the start of the run to Azure's swap."""
    ended_seconds: float = 0.0
    """From the kill to the run's end."""
    tries: int = 1
    evidence: dict[str, Any] = field(default_factory=dict[str, Any])

    def line(self) -> str:
        """One row of the table."""
        return (
            f"| {self.number:>3} | {self.victim:<14} | {self.moment:<34} | {self.resumed:<17} | {self.tries} "
            f"| {self.served_seconds:>5.1f} | {self.ended_seconds:>5.1f} | {self.result} |"
        )


class Torture:
    """The platform under torture."""

    def __init__(self, platform: LocalPlatform, chance: random.Random) -> None:
        self.platform = platform
        self.chance = chance
        self.control = Control(platform.sandbox_folder)
        self.state = Path(platform.environment["ROLLBACK_STATE"])
        self.store = Store(self.state)
        self.custody = Custody(self.state)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.tries = 3
        self.headers: dict[str, str] = {}

    # Prefect, asked as its UI asks it

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer, asked for again while the server is away or busy."""
        deadline = time.monotonic() + ROUND_SECONDS
        while True:
            with suppress(httpx.TransportError):
                self.headers = self.headers or prefect_headers(self.platform)
                url = f"{self.platform.api_url}{path}"
                answer = httpx.request(method, url, json=body, headers=self.headers, timeout=10, trust_env=False)
                if answer.status_code < 500:
                    return answer.raise_for_status().json()
            if time.monotonic() > deadline:
                raise Broken("the Prefect server does not answer")
            time.sleep(0.2)

    def start_run(self) -> str:
        """Start a rollback; its flow run."""
        deployment = self.ask("GET", "/deployments/name/roll-back-backend/roll-back-backend")["id"]
        body = {"parameters": {"environment": "production", "reason": "torture"}}
        return str(self.ask("POST", f"/deployments/{deployment}/create_flow_run", body)["id"])

    def flow_run(self, run: str) -> Any:
        """The flow run as Prefect tells it."""
        return self.ask("GET", f"/flow_runs/{run}")

    # the parts, killed and started again

    def start_worker(self) -> None:
        """Start a worker, as a supervisor does after a kill."""
        self.processes["worker"] = self.platform.start("worker", "-m", "deployments.worker", "--tries", str(self.tries))

    def start_server(self) -> None:
        """Start the server again, where it was."""
        port = httpx.URL(self.platform.api_url).port
        with socket.create_server(("127.0.0.1", port or 0)) as listener:
            inherited = listener.fileno()
            started = self.platform.start("server", *SERVER, "--fd", str(inherited), descriptors=(inherited,))
        self.processes["server"] = started

    def kill(self, name: str) -> None:
        """Kill a part as hard as it gets."""
        self.processes[name].kill()
        self.processes[name].wait()

    def kill_run(self, run: str) -> bool:
        """Kill the run's process; whether there was one."""
        started = self.custody.read(_uuid(run))
        if started is None or started.process is None or started.process.is_gone():
            return False
        with suppress(psutil.NoSuchProcess):
            psutil.Process(started.process.pid).kill()
        return True

    # where the run is

    def journal(self, run: str) -> list[dict[str, Any]]:
        """The run's journal so far."""
        folder = self.store.find(_name(run))
        file = folder.folder / "journal.jsonl" if folder else None
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True) if file and file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def clean(self) -> None:
        """Azure and our records as they were at the beginning."""
        self.control.reset()
        for file in (self.state / "environments").glob("*"):
            file.unlink()


def _name(run: str) -> str:
    return run.replace("-", "")[:8]


def _uuid(run: str) -> Any:
    from uuid import UUID

    return UUID(run)


def wait(condition: Callable[[], bool], what: str, seconds: float = ROUND_SECONDS) -> None:
    """Return when the condition holds; raises `Broken`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Broken(f"within {seconds:g} s {what}")
        time.sleep(LOOK_SECONDS)


def measure(torture: Torture) -> tuple[float, int]:
    """How long an untroubled run takes to its own end, and how many lines its journal then has."""
    torture.clean()
    begun = time.monotonic()
    run = torture.start_run()
    wait(lambda: ended(torture, run), "an untroubled run did not end")
    seconds, lines = time.monotonic() - begun, len(torture.journal(run))
    wait(lambda: torture.flow_run(run)["state"]["type"] in FINAL, "Prefect was not told")
    return seconds, lines


def one_round(torture: Torture, made: Round, usual: tuple[float, int]) -> None:
    """Kill and resume once; raises `Broken`."""
    chance = torture.chance
    torture.clean()
    if chance.random() < 0.5:
        torture.control.break_("swap-accepted-late", seconds=LATE_SWAP_SECONDS)
    by_line, line = chance.random() < 0.6, chance.randrange(usual[1])
    after, jitter = chance.uniform(0, usual[0]), chance.uniform(0, 0.05)
    away = chance.uniform(0.2, 6.0)
    begun, begun_at = time.monotonic(), datetime.now(UTC)
    run = torture.start_run()
    made.evidence["flow run"] = run
    if by_line and line:
        with suppress(Broken):
            wait(lambda: len(torture.journal(run)) >= line or ended(torture, run), "the line did not come", 30)
        time.sleep(jitter)
    else:
        time.sleep(chance.uniform(0, BEFORE_JOURNAL_SECONDS) if by_line else after)
    if made.victim in {"run", "worker and run"}:
        with suppress(Broken):
            wait(lambda: torture.custody.read(_uuid(run)) is not None or ended(torture, run), "it was not taken", 5)
    made.moment = where(torture, run)
    strike(torture, made, run, away)
    killed = time.monotonic()
    last = go_on(torture, made, run)
    made.ended_seconds = time.monotonic() - killed
    made.tries = int(torture.flow_run(run)["run_count"])
    check(torture, made, run, last)
    swap = torture.control.swaps()[0]
    made.served_seconds = max(0.0, (swap.time - begun_at).total_seconds())
    made.evidence["total"] = time.monotonic() - begun


def where(torture: Torture, run: str) -> str:
    """The step, and what was last told of it."""
    entries = torture.journal(run)
    if not entries:
        return "before it began"
    step = entries[-1].get("step") or "run"
    return f"{step}: {entries[-1]['event']}"[:34]


def ended(torture: Torture, run: str) -> bool:
    """Whether the run has given itself an end."""
    folder = torture.store.find(_name(run))
    return folder is not None and folder.outcome() is not None


def strike(torture: Torture, made: Round, run: str, away: float) -> None:
    """Kill the victim, and start again what a supervisor would."""
    if made.victim == "server":
        torture.kill("server")
        time.sleep(away)
        torture.start_server()
        return
    if made.victim != "run":
        torture.kill("worker")
    if made.victim != "worker" and not torture.kill_run(run):
        made.resumed = "nothing to kill"
    if made.victim != "run":
        torture.start_worker()


def go_on(torture: Torture, made: Round, run: str) -> str:
    """Have the run resumed as the round says, wait for its end; the flow run that ended it."""
    deadline = time.monotonic() + ROUND_SECONDS
    while time.monotonic() < deadline:
        seen = torture.flow_run(run)
        state = seen["state"]
        if state["type"] == "CRASHED" and made.way == BY_RETRY:
            made.resumed = BY_RETRY
            retry = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True}
            torture.ask("POST", f"/flow_runs/{run}/set_state", retry)
        elif state["type"] == "CRASHED" and made.way == BY_RESUME:
            made.resumed = BY_RESUME
            resume(torture, made, run)
            return ""
        elif state["type"] in FINAL:
            if seen["run_count"] > 1 and made.way == BY_WORKER:
                made.resumed = BY_WORKER
            return run
        time.sleep(0.1)
    raise Broken(f"the run did not end: {torture.flow_run(run)['state']['name']}")


def resume(torture: Torture, made: Round, run: str) -> None:
    """`rollback run … --resume`; where the run was killed before it kept anything, a new one."""
    known = torture.store.find(_name(run)) is not None
    how = ("--resume", _name(run)) if known else ("--reason", "torture: begun anew")
    if not known:
        made.resumed = "begun anew"
    command = [sys.executable, "-m", "deployments.cli", "run", "roll-back-backend", "-e", "production", *how]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=torture.platform.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=ROUND_SECONDS,
    )
    made.evidence["command"] = done.stdout + done.stderr
    if done.returncode != 0:
        raise Broken(f"the command ended with {done.returncode}")


def check(torture: Torture, made: Round, run: str, last: str) -> None:
    """Whether everything is as it must be; raises `Broken`."""
    slots = torture.control.status().sites["production"].slots
    swaps = [swap.by for swap in torture.control.swaps()]
    wait(lambda: torture.custody.read(_uuid(run)) is None or not last, "the worker did not let go of the run", 15)
    folder = torture.store.latest(1)[0] if made.resumed == "begun anew" else torture.store.find(_name(run))
    outcome = folder.outcome() if folder else None
    wrong = [
        (swaps != ["client"], f"swaps: {swaps}"),
        (slots["production"].release != V2, f"production runs {slots['production'].release}"),
        (slots["staging"].release != V3, f"the slot runs {slots['staging'].release}"),
        (outcome is None or outcome.end_state is not EndState.ROLLED_BACK, f"outcome: {outcome and outcome.headline}"),
        (torture.store.leases.read("production") is not None, "the environment is not free"),
    ]
    if last:
        state = torture.flow_run(last)["state"]
        wrong.append((state["name"] != "Rolled back", f"Prefect says {state['name']}: {state['message']}"))
    if found := [what for is_wrong, what in wrong if is_wrong]:
        raise Broken("; ".join(found))


def keep_evidence(torture: Torture, made: Round, run: str | None) -> None:
    """Everything that tells what happened, in a folder of the round."""
    folder = torture.platform.folder / "evidence" / f"round-{made.number}"
    folder.mkdir(parents=True)
    shutil.copytree(torture.state, folder / "state", dirs_exist_ok=True)
    for log in ("worker", "server", "sandbox"):
        with suppress(FileNotFoundError):
            shutil.copy(torture.platform.log(log), folder)
    status = torture.control.status().model_dump_json(indent=2)
    (folder / "sandbox.json").write_text(status, encoding="utf-8")
    told = dict(made.evidence)
    if run:
        told["states"] = torture.ask("GET", f"/flow_run_states/?flow_run_id={run}")
        told["flow"] = torture.flow_run(run)
    (folder / "round.json").write_text(json.dumps(told, indent=2, default=str), encoding="utf-8")


def summary(rounds: list[Round]) -> str:
    """The totals, by victim and by way."""
    lines = [
        "",
        "| victim | resumed by | rounds | right | median s to be served | worst |",
        "|---|---|---|---|---|---|",
    ]
    for victim, resumed in sorted({(each.victim, each.resumed) for each in rounds}):
        found = [each for each in rounds if (each.victim, each.resumed) == (victim, resumed)]
        right = [each.served_seconds for each in found if each.result == "right"]
        middle = f"{statistics.median(right):.1f} | {max(right):.1f}" if right else "– | –"
        lines.append(f"| {victim} | {resumed} | {len(found)} | {len(right)} | {middle} |")
    steps = Counter(each.moment.split(":")[0] for each in rounds)
    lines += ["", "Struck during: " + ", ".join(f"{step} {count}" for step, count in steps.most_common())]
    right = sum(each.result == "right" for each in rounds)
    lines.append(f"Total: {len(rounds)} rounds, {right} right, {len(rounds) - right} broken.")
    return "\n".join(lines)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", default=100, show_default=True, type=click.IntRange(min=1))
@click.option("--minutes", default=40.0, show_default=True, help="No round begins after so long.")
@click.option("--seed", default=None, type=int, help="For the same choices again; drawn and printed otherwise.")
@click.option(
    "--state", default=ROOT / ".state" / "torture", show_default=True, type=click.Path(file_okay=False, path_type=Path)
)
def main(rounds: int, minutes: float, seed: int | None, state: Path) -> None:
    """Kill and resume, again and again; exit status 1 where anything broke."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    folder = state / f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True)
    click.echo(f"Seed {seed}; everything is in {folder}")
    done: list[Round] = []
    environment = {"ROLLBACK_CONFIG": str(quick_platform_file(folder))}
    with LocalPlatform(folder, environment=environment) as platform:
        torture = begin(platform, random.Random(seed))  # noqa: S311 - chance, not a key
        click.echo("| no. | victim | moment | resumed by | tries | s to be served | s from kill to end | result |")
        click.echo("|---|---|---|---|---|---|---|---|")
        end_at = time.monotonic() + minutes * 60
        try:
            torment(torture, rounds, end_at, done)
        except KeyboardInterrupt:
            click.echo("Ended early.")
        click.echo(summary(done))
    broken = [each for each in done if each.result != "right"]
    if not broken:
        shutil.rmtree(folder)
    sys.exit(1 if broken or not done else 0)


def begin(platform: LocalPlatform, chance: random.Random) -> Torture:
    """The platform, up and deployed to."""
    platform.start_server()
    platform.start_sandbox()
    platform.wait_for_server()
    platform.start_worker()
    torture = Torture(platform, chance)
    torture.processes = {name: platform._parts[name] for name in ("worker", "server")}
    return torture


def torment(torture: Torture, rounds: int, end_at: float, done: list[Round]) -> None:
    """All rounds: half of them resumed by the worker, half by a person, with a worker that does not by itself."""
    usual = min(measure(torture), measure(torture))
    click.echo(f"An untroubled run takes {usual[0]:.1f} s and {usual[1]} lines.", err=True)
    for number in range(1, rounds + 1):
        if time.monotonic() > end_at:
            return
        by_worker = (number // 10) % 2 == 0
        if (torture.tries > 1) != by_worker:
            torture.tries = 3 if by_worker else 1
            torture.processes["worker"].terminate()
            torture.processes["worker"].wait()
            torture.start_worker()
        way = BY_WORKER if by_worker else torture.chance.choice((BY_RETRY, BY_RESUME))
        made = Round(number, torture.chance.choices([*VICTIMS], [*VICTIMS.values()])[0], way)
        done.append(made)
        try:
            one_round(torture, made, usual)
        except (Broken, RollbackError, httpx.HTTPError, subprocess.TimeoutExpired) as error:
            made.result = f"BROKEN: {error}"
            keep_evidence(torture, made, made.evidence.get("flow run"))
        click.echo(made.line())


if __name__ == "__main__":
    main()
