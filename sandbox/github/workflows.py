"""The repository's workflows: their jobs and steps, and which of them GitHub would start by itself or on demand."""

from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.fundrbolt.frontends import FRONTENDS
from sandbox.github.names import HTML, REPOSITORY_ID, URL, node_id

ENVIRONMENT = "production"
ENVIRONMENT_ID = 3_300_417_221
BUILD, DEPLOY, TEST = "build", "deploy", "test"


@dataclass(frozen=True)
class Workflow:
    """One file below `.github/workflows`."""

    id: int
    name: str
    file: str
    jobs: dict[str, tuple[str, ...]]
    """In their order, each with its steps."""
    inputs: Mapping[str, tuple[str, ...]] | None = None
    """What it can be dispatched with, each input with its choices, the first by default; None: it cannot be."""
    protected: str = ""
    """The job that waits for a review of its deployment."""

    @property
    def path(self) -> str:
        """Where it is in the repository."""
        return f".github/workflows/{self.file}"


CHECKOUT, UPLOAD = "Run actions/checkout@v4", "Run actions/upload-artifact@v4"
DEPLOY_FRONTEND = Workflow(
    id=91_402_771,
    name="Deploy frontend",
    file="deploy-frontend.yml",
    jobs={
        BUILD: ("Set up job", CHECKOUT, "Build", UPLOAD, f"Post {CHECKOUT}", "Complete job"),
        DEPLOY: ("Set up job", CHECKOUT, "Deploy", f"Post {CHECKOUT}", "Complete job"),
    },
    inputs={"frontend": FRONTENDS},
    protected=DEPLOY,
)
CI = Workflow(
    id=91_402_770,
    name="CI",
    file="ci.yml",
    jobs={TEST: ("Set up job", CHECKOUT, "Run tests", f"Post {CHECKOUT}", "Complete job")},
)
WORKFLOWS = [CI, DEPLOY_FRONTEND]
FAILING_STEP = {DEPLOY: "Deploy", BUILD: "Build", TEST: "Run tests"}


def find(name: str) -> Workflow | None:
    """The workflow with this id or file name."""
    return next((each for each in WORKFLOWS if name in (str(each.id), each.file, each.path)), None)


def by_file(file: str) -> Workflow:
    """The workflow of a run."""
    return next(each for each in WORKFLOWS if each.file == file)


def shown(workflow: Workflow) -> dict[str, object]:
    """A workflow as the API tells of it."""
    return {
        "id": workflow.id,
        "node_id": node_id("W", REPOSITORY_ID, workflow.id),
        "name": workflow.name,
        "path": workflow.path,
        "state": "active",
        "created_at": "2025-03-11T10:04:27.000Z",
        "updated_at": "2025-11-02T16:40:09.000Z",
        "url": f"{URL}/actions/workflows/{workflow.id}",
        "html_url": f"{HTML}/blob/main/{workflow.path}",
        "badge_url": f"{HTML}/workflows/{workflow.name.replace(' ', '%20')}/badge.svg",
    }
