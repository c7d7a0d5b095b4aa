"""What frontends serve and are to serve: what all plans that bring frontends back have in common."""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from rollback.frontends.archive import Contents
from rollback.models import Model
from rollback.plans import Plan, PlannedStep, Risk

VERIFY, RECORD = "Verify from outside", "Record what served"


class FrontendGoal(Model):
    """One frontend, as it is, and what it is to serve."""

    name: str
    resource_group: str
    app: str
    host: str
    """The app's own."""
    hosts: tuple[str, ...]
    """Addresses under which users get it."""
    serving: str | None
    """The version that the site itself tells when the plan is made; none where that could not be read."""
    serving_index: str | None
    """Digest of the index.html that it gives then."""
    updated_at: datetime | None
    """When something was deployed to it last, as Azure tells."""
    version: str
    """The one that it is to serve."""
    contents: Contents | None = None
    """Of the archive; none where it is built anew."""

    @property
    def already_there(self) -> bool:
        """Whether it serves exactly that now."""
        return self.serves(self.serving, self.serving_index)

    def serves(self, version: str | None, index_digest: str | None) -> bool:
        """Whether a site that gives this version and index.html serves the goal."""
        return version == self.version and (self.contents is None or index_digest == self.contents.index_digest)

    @property
    def before(self) -> str:
        """What it serves when the plan is made, for people."""
        return self.serving or "an unknown version"


class FrontendsPlan(Plan):
    """Bring frontends back to a release."""

    rated: ClassVar[Risk] = "low"
    release: str
    goes_back: bool = True
    """Whether it is older than what is served; False where it is known to be newer, so that nothing is called bad."""

    @property
    def way(self) -> str:
        """From what to what, in words."""
        return f"{'back ' if self.goes_back else ''}from {self.serving} to {self.release}"

    @property
    def goals(self) -> Sequence[FrontendGoal]:
        """Each frontend and what it is to serve."""
        raise NotImplementedError

    @property
    def names(self) -> str:
        """The frontends that are changed, or all where none is."""
        changed = [each.name for each in self.goals if not each.already_there]
        return " and ".join(changed or [each.name for each in self.goals])

    @property
    def serving(self) -> str:
        """What those that are changed serve when the plan is made."""
        return ", ".join(dict.fromkeys(each.before for each in self.goals if not each.already_there))

    @property
    def goal(self) -> str:
        """What is true when it is done, in one line."""
        names = " and ".join(each.name for each in self.goals)
        return f"{self.environment}'s {names} serve{'' if len(self.goals) > 1 else 's'} {self.release}"

    @property
    def verifying(self) -> PlannedStep:
        """The look at what users get."""
        hosts = ", ".join(address.removeprefix("https://") for each in self.goals for address in each.hosts)
        return PlannedStep(
            title=VERIFY,
            detail=f"{hosts}: the version past every cache, what the page refers to, its calls to the backend",
            changes=False,
        )

    def afterwards(self) -> tuple[str, ...]:
        """What is left to people when it is done."""
        if not self.goes_back:
            return ()
        return (
            f"The next run of the deployment workflow on the main branch brings {self.serving} back: revert it there.",
            "Browsers that have the page open go on with the bad version until they load it again.",
        )
