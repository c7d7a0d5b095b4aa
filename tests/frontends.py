"""What the tests of frontends share: a platform file with quick times, and what sites and GitHub show afterwards."""

import os
import re
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
from azure.identity import ClientSecretCredential
from azure.mgmt.web import WebSiteManagementClient
from azure_names import GROUP, SUBSCRIPTION
from support import V3, World, quick_platform_file, run_flow

from flows.redeploy_frontend import redeploy_frontend
from flows.rerun_frontend_workflow import rerun_frontend_workflow
from rollback.journal import Entry
from rollback.runs import Outcome, Store
from sandbox.control import FrontendDeployment
from sandbox.fundrbolt.frontends import archive_of

WEB, ADMIN = "fundrbolt-production-web", "fundrbolt-production-admin"
SITES = (WEB, ADMIN)
GOOD_BACKEND = "https://fundrbolt-production-api-staging.azurewebsites.net"
"""The slot, whose build never fails: production's does for one request in three."""
ZIP = r"zipdeploy$"


def frontends_file(folder: Path, script: str = "", **workflow: object) -> Path:
    """The platform's own file with quick times, a backend that does not fail, and no look by a browser.

    With a script, web is deployed by that command instead of its archive.
    """
    file = quick_platform_file(folder)
    content = file.read_text(encoding="utf-8")
    content = content.replace("https://api.fundrbolt.com/api/v1", f"{GOOD_BACKEND}/api/v1")
    content = re.sub(r"^shows = .*\n", "", content, flags=re.M)
    quick = "settle_seconds = 1\nverify_within_seconds = 5\ndeploy_timeout_seconds = 20\n"
    content = re.sub(r"^artifact = .*\n", lambda found: f"{found[0]}{quick}", content, flags=re.M)
    given = {"settle_seconds": 1, "timeout_seconds": 30, **workflow}
    lines = "".join(f"{name} = {value}\n" for name, value in given.items())
    content = content.replace("[environments.production.workflow]\n", f"[environments.production.workflow]\n{lines}")
    if script:
        way = f'way = "script"\nscript = {script}\n'
        content = re.sub(r'^artifact = "frontend-web.zip".*\n', way, content, flags=re.M)
    file.write_text(content, encoding="utf-8")
    return file


class Frontends:
    """Production's frontends and the workflow that deploys them, seen from outside."""

    def __init__(self, world: World, state: Path) -> None:
        self.control = world.control
        self.store = Store(state)
        self.began = datetime.now(UTC)

    def served(self, site: str) -> str:
        """The version that a site tells its users."""
        with httpx.Client(verify=ssl.create_default_context()) as client:
            answer = client.get(f"https://{site}.azurestaticapps.net/version.json", params={"look": "test"})
        return answer.json()["version"]

    def all_served(self) -> set[str]:
        return {self.served(each) for each in SITES}

    def deployments(self, site: str = "") -> list[FrontendDeployment]:
        """What was deployed since the test began, by anybody."""
        return [each for each in self.control.frontend_deployments() if site in {"", each.site}]

    def deployed(self) -> dict[str, int]:
        """How often each site was deployed to."""
        return {site: len(self.deployments(site)) for site in SITES}

    def sent(self, method: str, path: str) -> int:
        """How often a request was sent."""
        entries = self.control.audit(self.began)
        return sum(each.method == method and re.search(path, each.path) is not None for each in entries)

    @staticmethod
    def deployment_token(site: str) -> str:
        """As Azure gives it to whoever may list the site's secrets."""
        environment = {name: os.environ[name] for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")}
        credential = ClientSecretCredential(*environment.values())
        with credential, WebSiteManagementClient(credential, SUBSCRIPTION) as client:
            secrets = client.static_sites.list_static_site_secrets(GROUP, site).properties
        assert secrets is not None
        return secrets["apiKey"]

    def upload(self, site: str, release: str, timeout: float = 20) -> None:
        """Somebody's own deployment, with the token."""
        answer = httpx.post(
            f"https://content.infrastructure.azurestaticapps.net/deployments?app={site}",
            content=archive_of(site.rpartition("-")[2], release),
            headers={"Authorization": f"Bearer {self.deployment_token(site)}"},
            verify=ssl.create_default_context(),
            timeout=timeout,
        )
        answer.raise_for_status()

    def told(self, outcome: Outcome) -> str:
        """All that was told of a run: its report, journal and outcome."""
        folder = self.store.get(outcome.run).folder
        return "\n".join(each.read_text(encoding="utf-8") for each in folder.iterdir() if each.is_file())

    def untouched(self) -> bool:
        """Whether users get what they got, and nothing was sent that would change it."""
        return self.all_served() == {V3} and not self.deployments() and not self.sent("POST", rf"{ZIP}|/rerun$")


async def redeploy(watch: Callable[[Entry], None] | None = None, **parameters: object) -> Outcome:
    """The flow as the command line runs it without a Prefect server."""
    return await run_flow(watch, flow=redeploy_frontend, **parameters)


async def rerun(watch: Callable[[Entry], None] | None = None, **parameters: object) -> Outcome:
    """The same, of the workflow's flow."""
    return await run_flow(watch, flow=rerun_frontend_workflow, **{"release": "v1.2.2", **parameters})


def worktrees() -> list[str]:
    """Those that the platform's repository knows besides itself."""
    from subprocess import run

    listed = run(
        ["git", "-C", os.environ["ROLLBACK_REPOSITORY"], "worktree", "list", "--porcelain"],
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.findall(r"^worktree (.*)", listed.stdout, flags=re.M)
    return [each for each in found if each != os.environ["ROLLBACK_REPOSITORY"]]
