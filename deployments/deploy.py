"""`python -m deployments.deploy`: what the Prefect server of PREFECT_API_URL knows of us is what these files say.

The procedures of prefect.yaml, and the automations of automations.yaml by their names. Done twice it changes nothing:
schedules that the server has stay switched on or off, whatever the file says.
"""

import asyncio
import sys
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

import click
import yaml

FOLDER = Path(__file__).parent
PROCEDURES = FOLDER / "prefect.yaml"
AUTOMATIONS = FOLDER / "automations.yaml"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Deploy every procedure, and what brings the run of a lost machine back."""
    document = yaml.safe_load(PROCEDURES.read_text(encoding="utf-8"))
    deploy_procedures(document, asyncio.run(find_schedules([each["name"] for each in document["deployments"]])))
    asyncio.run(deploy_automations(yaml.safe_load(AUTOMATIONS.read_text(encoding="utf-8"))))


async def find_schedules(names: list[str]) -> set[tuple[str, str]]:
    """The schedules that the server has of these deployments: the deployment's name, and the schedule's."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName

    async with get_client() as client:
        wanted = DeploymentFilter(name=DeploymentFilterName(any_=names))
        return {
            (found.name, each.slug)
            for found in await client.read_deployments(deployment_filter=wanted)
            for each in found.schedules
            if each.slug is not None
        }


def deploy_procedures(document: dict[str, Any], scheduled: set[tuple[str, str]]) -> None:
    """Run Prefect's own command, in this process: importing Prefect once more would take longer than what it does.

    What the file says of these schedules' being switched on or off is left out: Prefect then leaves that as it is.
    """
    from prefect.cli import app

    for deployment in document["deployments"]:
        for each in deployment.get("schedules", []):
            if (deployment["name"], each["slug"]) in scheduled:
                del each["active"]
    with tempfile.TemporaryDirectory() as folder, chdir(FOLDER.parent):
        file = Path(folder) / PROCEDURES.name
        file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        sys.argv = ["prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
        try:
            app()
        except SystemExit as ended:
            if ended.code:
                raise


async def deploy_automations(documents: list[dict[str, Any]]) -> None:
    """Make or change the automations of these names; others are left alone."""
    from prefect.client.orchestration import get_client
    from prefect.events.schemas.automations import AutomationCore

    async with get_client() as client:
        for document in documents:
            automation = AutomationCore.model_validate(document)
            found = await client.read_automations_by_name(automation.name)
            if found:
                await client.update_automation(found[0].id, automation)
            else:
                await client.create_automation(automation)
            click.echo(f"Automation {automation.name}: {'changed' if found else 'made'}.")


if __name__ == "__main__":
    main()
