"""Deployments over the life of a sandbox: ended half-way and started again, in a history that does not grow on."""

import shlex
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from arm_templates import ALERT, STORAGE, template
from azure_names import GROUP, SUBSCRIPTION
from support import ROOT

from sandbox.clock import now
from sandbox.control import Control, ExecutedDeployment
from sandbox.deployments.model import MOST_KEPT, ArmDeployment
from sandbox.deployments.running import enter
from sandbox.start import starting_state

WAIT_SECONDS = 30
PATH = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Resources/deployments/held"


class Life:
    """A sandbox of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.control = folder, Control(folder)

    def command(self, *words: str) -> str:
        command = [sys.executable, "-m", "sandbox", *words, "--state", str(self.folder)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    def deploy(self, content: dict) -> httpx.Response:
        exports = dict(shlex.split(line)[1].split("=", 1) for line in self.command("env").splitlines())
        token = self.control.token("rollback", "https://management.azure.com/.default")
        return httpx.put(
            f"https://management.azure.com{PATH}?api-version=2025-04-01",
            json={"properties": {"mode": "Incremental", "template": content}},
            headers={"Authorization": f"Bearer {token}"},
            proxy=exports["HTTPS_PROXY"],
            verify=ssl.create_default_context(cafile=exports["SSL_CERT_FILE"]),
        )

    def held(self) -> ExecutedDeployment:
        return next(each for each in self.control.arm_deployments(GROUP) if each.name == "held")


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    made = Life(tmp_path / "state")
    made.command("up", "--detach")
    yield made
    made.command("down")


def wait_for(condition) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "the condition never held"
        time.sleep(0.05)


def test_a_deployment_goes_on_after_a_restart_and_writes_nothing_twice(life):
    life.control.break_("arm-deployment-never-ends", type="Microsoft.Insights/metricAlerts")
    assert life.deploy(template(ALERT, STORAGE)).status_code == 201
    wait_for(lambda: len(life.held().writes) == 1)
    life.command("down")
    life.command("up", "--detach")
    assert life.held().state == "Running"
    life.control.repair()
    wait_for(lambda: life.held().state == "Succeeded")
    assert [each.resource_id.split("/")[-2] for each in life.held().writes] == ["storageAccounts", "metricAlerts"]


def test_a_scope_keeps_800_deployments_and_forgets_the_oldest(tmp_path):
    state = starting_state(tmp_path)

    def made(number: int, group: str | None) -> ArmDeployment:
        moment = now() + timedelta(seconds=number)
        frame = {"location": "eastus", "template": {}, "by": "somebody", "state": "Succeeded"}
        return ArmDeployment(name=f"d{number}", group=group, begun=moment, ended=moment, **frame)

    for number in range(MOST_KEPT + 2):
        enter(state, made(number, GROUP))
    enter(state, made(0, None))
    kept = [each.name for each in state.arm_deployments if each.group == GROUP]
    assert (len(kept), kept[0], kept[-1]) == (MOST_KEPT, "d2", "d801")
    enter(state, made(5, GROUP))
    assert len([each for each in state.arm_deployments if each.name == "d5"]) == 1
