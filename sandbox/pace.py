"""How long Azure takes. `fast` does not wait for its own sake; `azure` takes as long as Azure, times a factor."""

from dataclasses import dataclass, fields
from typing import Literal

PaceName = Literal["fast", "azure"]


@dataclass(frozen=True)
class Pace:
    """Seconds that Azure needs for its own part of each operation, beyond the start of the app's process."""

    name: PaceName
    swap_prepare: float
    """Applying the target's sticky settings to the source slot."""
    swap_warm_up: float
    """Between the source slot's first answer and its being called warm."""
    warm_up_retry: float
    """Between two tries to warm up a slot that did not answer as wanted."""
    swap_switch: float
    """Switching the routing rules on every front end."""
    swap_finish: float
    """Applying the slot's own settings to the old production."""
    restart: float
    """Until a new container is asked for, after a restart or a change of configuration."""
    recycle: float
    """Until a container that died is started again."""
    retry_after: float
    """What the answer to an accepted operation asks the client to wait."""
    drain: float
    """How long requests under way may take before the process that serves them is ended."""
    metrics_lag: float
    """Until a request is counted in a platform metric."""
    component_lag: float
    """Until a request is counted in an Application Insights metric."""
    database_change: float
    """A change of a database server: of its settings, a start, a stop."""
    cache_change: float
    """A change of a cache: of its settings, a flush."""
    database_restore: float
    """Making a new database server, besides copying the data and replaying the log."""
    restore_point_lag: float
    """How old the newest instant is that a server can be restored to."""
    geo_lag: float
    """How far the copy in the paired region is behind."""
    workflow_queue: float
    """Until a job of GitHub's is picked up."""
    workflow_job: float
    """A job of GitHub's, besides what it deploys."""
    site_deployment: float
    """Distributing a static site's content, once it is there."""
    resource_write: float
    """What a deployment of a template takes for each resource, besides what the resource's provider takes."""
    what_if: float
    """Predicting what a template would change."""


FAST = Pace(
    name="fast",
    swap_prepare=0.05,
    swap_warm_up=0.05,
    warm_up_retry=0.2,
    swap_switch=0.1,
    swap_finish=0.0,
    restart=0.05,
    recycle=0.3,
    retry_after=0.1,
    drain=5.0,
    metrics_lag=0.5,
    component_lag=1.0,
    database_change=0.05,
    cache_change=0.05,
    database_restore=0.2,
    restore_point_lag=0.3,
    geo_lag=1.0,
    workflow_queue=0.05,
    workflow_job=0.05,
    site_deployment=0.05,
    resource_write=0.01,
    what_if=0.05,
)

# Measured swaps of container slots take about a minute, most of it the restart and the warm-up of the source slot.
AZURE = Pace(
    name="azure",
    swap_prepare=20.0,
    swap_warm_up=20.0,
    warm_up_retry=5.0,
    swap_switch=5.0,
    swap_finish=15.0,
    restart=20.0,
    recycle=5.0,
    retry_after=15.0,
    drain=30.0,
    metrics_lag=45.0,
    component_lag=120.0,
    database_change=30.0,
    cache_change=10.0,
    database_restore=600.0,
    restore_point_lag=300.0,
    geo_lag=3600.0,
    workflow_queue=5.0,
    workflow_job=40.0,
    site_deployment=40.0,
    resource_write=4.0,
    what_if=15.0,
)


def pace(name: PaceName, scale: float) -> Pace:
    """The pace called `name`, every duration times `scale`."""
    base = FAST if name == "fast" else AZURE
    numbers = {field.name: getattr(base, field.name) * scale for field in fields(base) if field.name != "name"}
    return Pace(name=name, **numbers)
