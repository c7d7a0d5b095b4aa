"""What GitHub keeps of the repository. What follows from it (links, commits, bytes) is made when asked for."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

Status = Literal["queued", "in_progress", "waiting", "completed"]
Conclusion = Literal["success", "failure", "cancelled", "skipped"]

FIRST_ID = 24_680_100_000


class Asset(BaseModel):
    """A file of a release."""

    id: int
    name: str
    downloads: int = 0


class Release(BaseModel):
    """A published release; its tag is of the same name."""

    id: int
    tag: str
    published: datetime
    assets: list[Asset]


class Job(BaseModel):
    """One job of a run's attempt. Its steps are the workflow's."""

    id: int
    name: str
    attempt: int
    """In which it ran: a re-run of the failed jobs shows those that it leaves alone."""
    status: Status = "queued"
    conclusion: Conclusion | None = None
    created: datetime
    started: datetime
    completed: datetime | None = None
    failure: str = ""
    """What its log says at the end, when it failed."""


class Attempt(BaseModel):
    """One attempt of a run: the first, or a re-run."""

    number: int
    by: str
    """Login of who asked for it."""
    started: datetime
    updated: datetime
    status: Status = "queued"
    conclusion: Conclusion | None = None
    jobs: list[Job]
    fails: bool = False
    hangs_in: str = ""
    """The job that never ends, because of a fault."""


class Review(BaseModel):
    """Somebody's answer to a pending deployment."""

    by: str
    state: Literal["approved", "rejected"]
    comment: str
    attempt: int
    time: datetime


class Run(BaseModel):
    """One workflow run."""

    id: int
    number: int
    workflow: str
    """File name below `.github/workflows`."""
    event: str
    ref: str
    """Branch or tag; the commit is what that points at."""
    frontends: list[str] = []
    """What it builds and deploys."""
    title: str
    by: str
    created: datetime
    attempts: list[Attempt]
    """Oldest first, never empty."""
    reviews: list[Review] = []

    @property
    def last(self) -> Attempt:
        """The latest attempt."""
        return self.attempts[-1]


DeploymentState = Literal["waiting", "queued", "in_progress", "success", "failure", "inactive"]


class DeploymentStep(BaseModel):
    """One status of a deployment."""

    id: int
    state: DeploymentState
    time: datetime


class GitHubDeployment(BaseModel):
    """One deployment to the environment `production`, by a job of a run."""

    id: int
    run: int
    job: int
    ref: str
    created: datetime
    steps: list[DeploymentStep] = []
    """Oldest first."""


class Comment(BaseModel):
    """A comment on an issue."""

    id: int
    by: str
    body: str
    created: datetime


class Issue(BaseModel):
    """An issue."""

    id: int
    number: int
    title: str
    body: str | None = None
    by: str
    state: Literal["open", "closed"] = "open"
    state_reason: Literal["completed", "not_planned", "duplicate", "reopened"] | None = None
    labels: list[str] = []
    assignees: list[str] = []
    created: datetime
    updated: datetime
    closed: datetime | None = None
    comments: list[Comment] = []


class GitHub(BaseModel):
    """The repository fundrbolt/fundrbolt."""

    last_id: int = FIRST_ID
    releases: list[Release] = []
    """Oldest first, as runs, deployments and issues are."""
    runs: list[Run] = []
    deployments: list[GitHubDeployment] = []
    issues: list[Issue] = []

    def new_id(self) -> int:
        """An identifier: whole numbers that only grow."""
        self.last_id += 1
        return self.last_id

    def find_run(self, number: int) -> Run | None:
        """The run with this id."""
        return next((each for each in self.runs if each.id == number), None)

    def deployment_of(self, job: Job) -> GitHubDeployment | None:
        """The deployment that a job makes."""
        return next((each for each in self.deployments if each.job == job.id), None)

    def move(self, deployment: GitHubDeployment, state: DeploymentState, at: datetime) -> None:
        """Give a deployment its next status. One that succeeds makes the one before it inactive."""
        if state == "success":
            for other in self.deployments:
                if other is not deployment and other.steps and other.steps[-1].state == "success":
                    other.steps.append(DeploymentStep(id=self.new_id(), state="inactive", time=at))
        deployment.steps.append(DeploymentStep(id=self.new_id(), state=state, time=at))
