"""Names of the platform's repository on GitHub."""

from githubkit import GitHub
from githubkit_schemas.latest.models import WorkflowRun

OWNER, REPO = "fundrbolt", "fundrbolt"
API = "https://api.github.com"
PATH = f"/repos/{OWNER}/{REPO}"
DEPLOY = "deploy-frontend.yml"
V1, V2, V3 = "v1.2.1", "v1.2.2", "v1.2.3"


async def good_run(github: GitHub, tag: str = V2) -> WorkflowRun:
    """The run that deployed a release."""
    wanted = {"branch": tag, "status": "success"}
    found = await github.rest.actions.async_list_workflow_runs(OWNER, REPO, DEPLOY, **wanted)
    return found.parsed_data.workflow_runs[0]
