"""What every plan has that moves a database's users from one server to another by its secret."""

from typing import Any, ClassVar, TypeVar

from rollback.database.bill import AnyBill
from rollback.database.consumers import Consumer
from rollback.database.models import Parameter, ServerId, ServerSettings
from rollback.plans import Plan, Risk


class MovePlan(Plan):
    """Stop and fence the server in use, and let everything that uses it follow to another one."""

    rated: ClassVar[Risk] = "high"

    source: ServerId
    """The server in use, which is fenced and left."""
    source_host: str
    private: bool
    """Whether the servers are reached through a virtual network only."""
    vault: str
    secret: str
    secret_version: str
    """The version that holds the source's address when the plan is made."""
    database: str
    user: str
    """The role that the apps sign in as."""
    consumers: tuple[Consumer, ...]
    settings: ServerSettings
    """The source's, as they were."""
    read_only: Parameter
    """The fence's parameter on the source, as it was."""
    tolerance_rows: int
    tolerance_share: float
    asks_again: bool = False
    """The measured bill is worse than what was approved: it binds from then on."""

    def binding(self) -> dict[str, Any]:
        """Targets and facts; the bill only once it has been measured and found worse."""
        bound = super().binding()
        for name in ("run", "estimated", *([] if self.asks_again else ["measured", "asks_again"])):
            bound.pop(name, None)
        return bound

    @property
    def target(self) -> ServerId:
        """The server that is used when it is done."""
        raise NotImplementedError

    @property
    def bill(self) -> AnyBill[Any]:
        """The best that is known of what is lost."""
        raise NotImplementedError

    @property
    def apps(self) -> str:
        """Who uses it, by name."""
        return ", ".join(each.name for each in self.consumers)

    @property
    def started(self) -> str:
        """What is started at the end, by name."""
        return ", ".join(each.name for each in self.consumers if each.was_running) or "nothing, as before"

    @property
    def quieted(self) -> str:
        """How each is kept from writing, by name."""
        modes = dict.fromkeys(each.quiet_words for each in self.consumers)
        return "; ".join(
            f"{', '.join(each.name for each in self.consumers if each.quiet_words == mode)}: {mode}" for mode in modes
        )

    @property
    def again(self) -> str:
        """For the title: why a person is asked once more."""
        return " (asked again: more is lost than was approved)" if self.asks_again else ""

    def follower_facts(self) -> list[tuple[str, str]]:
        """Who follows, and how each is known."""
        return [(f"Follows: {each.name}", _words_of(each)) for each in self.consumers]

    def tolerance_words(self) -> str:
        """When a person is asked once more."""
        share = f" or {self.tolerance_share:.0%} (whichever is more)" if self.tolerance_share else ""
        return f"where a table loses over {self.tolerance_rows} rows{share} more than said here"


MoveType = TypeVar("MoveType", bound=MovePlan)


def _words_of(consumer: Consumer) -> str:
    state = "runs" if consumer.was_running else "is stopped, and stays so"
    if consumer.maintenance and consumer.maintenance.stays:
        state = "is in maintenance mode, and stays so"
    return f"{consumer.how}; setting {', '.join(consumer.settings)}; {state}"
