"""The plan of redeploying an environment's frontends."""

from rollback.frontends.goals import FrontendGoal, FrontendsPlan
from rollback.frontends.settings import FrontendWay
from rollback.github.releases import Asset
from rollback.plans import PlannedStep

DEPLOY = "Deploy the frontends"
SHORT_DIGEST = 19


class FrontendTarget(FrontendGoal):
    """One frontend, and how it gets what it is to serve."""

    way: FrontendWay
    asset: Asset | None = None
    commit: str = ""
    """What the script is run from."""
    command: str = ""

    @property
    def source(self) -> str:
        """Where the target comes from, for people."""
        if self.asset is None or self.contents is None:
            return f"'{self.command}' in a clean worktree of commit {self.commit[:12]}"
        size, digest = f"{self.asset.size_bytes / 1e6:.2f} MB", self.contents.digest[:SHORT_DIGEST]
        return f"{self.asset.name} ({size}, {self.contents.files} files, {digest}…)"


class RedeployFrontendPlan(FrontendsPlan):
    """Let frontends serve a release again, by deploying it anew."""

    evidence: str
    """Why this release."""
    frontends: tuple[FrontendTarget, ...]

    @property
    def goals(self) -> tuple[FrontendTarget, ...]:
        """Each frontend and what it is to serve."""
        return self.frontends

    @property
    def to_deploy(self) -> tuple[FrontendTarget, ...]:
        """Those that do not serve it already."""
        return tuple(each for each in self.frontends if not each.already_there)

    @property
    def title(self) -> str:
        """What it does, in one line."""
        if self.already_there:
            return f"{self.environment}'s {self.names} already serve {self.release}: nothing to deploy"
        return f"{self.environment}'s {self.names} {self.way}, by deploying it again"

    @property
    def rto_target_seconds(self) -> float:
        """The runbook's quick reference."""
        return 180.0

    def steps(self) -> list[PlannedStep]:
        """What will be done, in order."""
        if self.already_there:
            return [self.verifying]
        told = "; ".join(f"{each.app} from {each.before} to {each.version}: {each.source}" for each in self.to_deploy)
        return [PlannedStep(title=DEPLOY, detail=told), self.verifying]

    def facts(self) -> list[tuple[str, str]]:
        """The binding facts, for people."""
        told = [("Release", self.release), ("Why this one", self.evidence)]
        for each in self.frontends:
            deployed = f", deployed {each.updated_at:%Y-%m-%d %H:%M:%S} UTC" if each.updated_at else ""
            told.append((f"{each.name} now", f"{each.app} in {each.resource_group} serves {each.before}{deployed}"))
            told.append((f"{each.name} then", f"{each.version}, {each.source}"))
        return told
