"""What the tests of infrastructure share: a repository with two releases' templates, and what the sandbox shows."""

import json
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from azure.identity.aio import ClientSecretCredential
from azure.mgmt.resource.deployments.aio import DeploymentsMgmtClient
from azure_names import GROUP, SUBSCRIPTION
from frontends import GOOD_BACKEND
from support import V2, V3, World, quick_platform_file, run_flow

from flows.roll_back_infrastructure import roll_back_infrastructure
from rollback.journal import Entry
from rollback.runs import Outcome, Store

BASE = "fundrbolt-infrastructure"
SCHEMAS = "https://schema.management.azure.com/schemas"
PROVIDERS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
SITE = "fundrbolt-production-api"
WEB = f"{PROVIDERS}/Microsoft.Web/sites/{SITE}/config/web"
STORAGE = f"{PROVIDERS}/Microsoft.Storage/storageAccounts/fundrboltexports"
PLAN = f"{PROVIDERS}/Microsoft.Web/serverfarms/fundrbolt-production-plan"


def main_template(release: str, *more: dict[str, Any]) -> dict[str, Any]:
    """A template of the subscription, with one deployment into the production group; v1.2.3 has a bad idea more."""
    bad = release == "v1.2.3"
    inner = [
        {
            "type": "Microsoft.Web/sites/config",
            "apiVersion": "2023-12-01",
            "name": f"{SITE}/web",
            "properties": {"alwaysOn": not bad, "minTlsVersion": "1.2", "http20Enabled": bad},
        },
        {
            "type": "Microsoft.Web/serverfarms",
            "apiVersion": "2023-12-01",
            "name": "fundrbolt-production-plan",
            "location": "eastus",
            "tags": {"environment": "production", "release": release},
            "sku": {"name": "P1v3", "tier": "PremiumV3", "size": "P1v3", "family": "Pv3", "capacity": 1},
            "kind": "linux",
            "properties": {"reserved": True},
        },
        *([storage()] if bad else []),
        *more,
    ]
    nested = {
        "type": "Microsoft.Resources/deployments",
        "apiVersion": "2022-09-01",
        "name": "fundrbolt-production",
        "resourceGroup": GROUP,
        "properties": {
            "mode": "Incremental",
            "expressionEvaluationOptions": {"scope": "inner"},
            "template": template("deploymentTemplate", inner),
        },
    }
    return template("subscriptionDeploymentTemplate", [nested])


def storage() -> dict[str, Any]:
    return {
        "type": "Microsoft.Storage/storageAccounts",
        "apiVersion": "2023-05-01",
        "name": "fundrboltexports",
        "location": "eastus",
        "sku": {"name": "Standard_LRS"},
        "kind": "StorageV2",
        "properties": {},
    }


def template(kind: str, resources: list[dict[str, Any]], **sections: Any) -> dict[str, Any]:
    schema = f"{SCHEMAS}/{'2018-05-01' if kind.startswith('subscription') else '2019-04-01'}/{kind}.json#"
    return {"$schema": schema, "contentVersion": "1.0.0.0", "resources": resources, **sections}


class Repository:
    """A git repository of templates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._git("init", "--quiet", "--initial-branch=main")

    def commit(self, tag: str, main: dict[str, Any] | str, parameters: dict[str, Any] | None = None) -> str:
        files = self.folder / "infrastructure"
        files.mkdir(exist_ok=True)
        (files / "main.json").write_text(main if isinstance(main, str) else json.dumps(main))
        (files / "production.parameters.json").write_text(json.dumps({"parameters": parameters or {}}))
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "-m", tag)
        self._git("tag", "--force", tag)
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *who, *arguments], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout


class Infrastructure:
    """Azure's infrastructure as the sandbox shows it: v1.2.3's template is deployed, v1.2.2's is to come back."""

    def __init__(self, world: World, folder: Path, repository: Repository) -> None:
        self.world, self.control = world, world.control
        self.repository = repository
        self.store = Store(folder)
        self.began = datetime.now(UTC)

    async def deploy(self, main: dict[str, Any], name: str = BASE) -> None:
        """As the platform's own pipeline does, or somebody by hand."""
        async with self.client() as client:
            body: Any = {"location": "eastus", "properties": {"mode": "Incremental", "template": main}}
            begun = await client.deployments.begin_create_or_update_at_subscription_scope(name, body)
            await begun.result()

    async def deployments(self) -> dict[str, str]:
        """Names and states of the subscription's deployments that are a rollback's own."""
        async with self.client() as client:
            found = [each async for each in client.deployments.list_at_subscription_scope()]
        told = {each.name or "": each.properties.provisioning_state for each in found if each.properties}
        return {
            name: str(getattr(state, "value", state)) for name, state in told.items() if name.startswith(f"{BASE}-r")
        }

    def sent(self) -> int:
        """Requests to deploy that reached Azure for a rollback, whatever became of them."""
        entries = self.control.audit(self.began)
        return sum(each.method == "PUT" and f"/deployments/{BASE}-rollback-" in each.path for each in entries)

    def executed(self) -> list[str]:
        """How each deployment of a rollback's ended, by the sandbox's own books: one that never began is in none."""
        found = self.control.arm_deployments()
        return [each.state for each in found if each.name.startswith(f"{BASE}-rollback-")]

    def client(self) -> "Owned":
        """A client that is not the procedure's."""
        return Owned()


async def make_infrastructure(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: object
) -> Infrastructure:
    """With both releases in a repository, and v1.2.3's template deployed."""
    repository = Repository(folder / "repository")
    for release in (V2, V3):
        repository.commit(release, main_template(release))
    monkeypatch.setenv("ROLLBACK_REPOSITORY", str(repository.folder))
    monkeypatch.setenv("ROLLBACK_CONFIG", str(infrastructure_file(folder, **settings)))
    made = Infrastructure(world, folder / "state", repository)
    await made.deploy(main_template(V3))
    return made


class Owned:
    """A client of the test's own, closed at the end of the block."""

    async def __aenter__(self) -> DeploymentsMgmtClient:
        names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
        self._credential = ClientSecretCredential(*(os.environ[name] for name in names))
        self._client = DeploymentsMgmtClient(self._credential, SUBSCRIPTION, polling_interval=0.05)
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        await self._credential.close()


def infrastructure_file(folder: Path, **more: object) -> Path:
    """The platform's own file with quick times, and no approval that anybody would have to give."""
    file = quick_platform_file(folder)
    content = file.read_text(encoding="utf-8")
    quick = {"settle_seconds": 1, "deploy_timeout_seconds": 20, **more}
    content = "".join(line for line in content.splitlines(keepends=True) if line.partition(" ")[0] not in more)
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in quick.items())
    content = content.replace(
        "[environments.production.infrastructure]\n", f"[environments.production.infrastructure]\n{lines}"
    )
    content = content.replace('"https://api.fundrbolt.com"\ninsights', f'"{GOOD_BACKEND}"\ninsights')
    content = content.replace('needs = "signed"', 'needs = "none"').replace("people = 2\n", "")
    file.write_text(content, encoding="utf-8")
    return file


async def roll_back(watch: Callable[[Entry], None] | None = None, **parameters: object) -> Outcome:
    """The flow as the command line runs it without a Prefect server."""
    return await run_flow(watch, flow=roll_back_infrastructure, **{"release": "v1.2.2", **parameters})
