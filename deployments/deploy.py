"""`python -m deployments.deploy`: what the Prefect server of PREFECT_API_URL knows of us is what these files say.

The procedures of prefect.yaml, and the automations of automations.yaml by their names. Done twice it changes nothing.
"""

import asyncio
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import click
import yaml

FOLDER = Path(__file__).parent
PROCEDURES = "deployments/prefect.yaml"
AUTOMATIONS = FOLDER / "automations.yaml"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Deploy every procedure, and what brings the run of a lost machine back."""
    deploy_procedures()
    asyncio.run(deploy_automations(yaml.safe_load(AUTOMATIONS.read_text(encoding="utf-8"))))


def deploy_procedures() -> None:
    """Run Prefect's own command, in this process: importing Prefect once more would take longer than what it does."""
    from prefect.cli import app

    sys.argv = ["prefect", "--no-prompt", "deploy", "--all", "--prefect-file", PROCEDURES]
    with chdir(FOLDER.parent):
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
