"""`python -m deployments.deploy`: what the Prefect server of PREFECT_API_URL knows of us is what these files say.

The procedures of prefect.yaml, and the automations of automations.yaml by their names. Done twice it changes nothing.
"""

import asyncio
import subprocess
import sys
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
    deployed = subprocess.run(  # noqa: S603 - Prefect's own command, with arguments that we chose
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", PROCEDURES],
        cwd=FOLDER.parent,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if deployed.returncode != 0:
        sys.exit(deployed.returncode)
    asyncio.run(deploy_automations(yaml.safe_load(AUTOMATIONS.read_text(encoding="utf-8"))))


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
