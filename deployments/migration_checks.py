"""Whether an environment's schema could be taken down: a part of `rollback doctor`. Only reads."""

from deployments.checks import GOOD, HINT, MISSING, Check, check, lack
from rollback.compatibility import Current, Fit, judge, span
from rollback.context import Run
from rollback.errors import RollbackError
from rollback.migrations.current import read_current
from rollback.migrations.graph import read_graph
from rollback.migrations.models import BASE
from rollback.migrations.places import find_place
from rollback.permissions import REHEARSE, check_granted_in_group
from rollback.slots import PRODUCTION, Slot


async def examine(run: Run) -> list[Check]:
    """The checks of a run that only looks."""
    current = await read_current(run)
    if current.revisions is None or len(current.revisions) != 1:
        hint = "Only a database at one revision of alembic's can be taken down."
        return [Check(MISSING, f"schema: {current}", hint)]
    try:
        app = await run.app_service()
        slots = list(await app.get_pair()) if run.backend.slot else [await app.get_slot(PRODUCTION)]
        releases = [_check_release(run, each, current) for each in slots]
        return [await _check_way(run, current.revisions[0]), *releases, await _check_rehearsals(run)]
    except RollbackError as error:
        return [lack(error)]


async def _check_way(run: Run, revision: str) -> Check:
    """Whether alembic runs where the current revision's file is, and can work with what is there."""
    try:
        async with find_place(run, revision) as place:
            graph = await read_graph(place.sources)
            graph.path(revision, BASE)
            name = place.way.name
    except RollbackError as error:
        return lack(error)
    if len(graph.heads) > 1:
        hint = "A downgrade is refused until they are merged, or it waives 'several-heads'."
        return Check(MISSING, f"the revisions in the {name} have several heads: {', '.join(graph.heads)}", hint)
    return Check(GOOD, f"the schema is at {revision}, and alembic can go down from there in the {name}")


def _check_release(run: Run, slot: Slot, current: Current) -> Check:
    """Whether the manifest knows on which schemas a slot's release runs, and does not contradict what is there."""
    where = "production" if slot.name == PRODUCTION else f"slot '{slot.name}'"
    release = run.manifest.releases.get(slot.build.release or "")
    if release is None or not release.usable:
        hint = "Add it to the release manifest: rollback manifest build. Until then a person decides."
        return Check(HINT, f"whether {slot.build}, in {where}, can use a schema is unknown", hint)
    runs_on = f"{slot.build.name}, in {where}, runs on {span(release.usable)}"
    fit = judge(run.manifest, run.header.environment, slot.build, slot.build, current).fact.fit
    if fit is Fit.FITS or slot.name != PRODUCTION:
        return Check(GOOD, f"by the manifest {runs_on}")
    hint = "Look which is right: rollback manifest check --checkout FOLDER. Plans of the backend rest on it."
    return Check(MISSING, f"the manifest says that {runs_on}, and {current}", hint)


async def _check_rehearsals(run: Run) -> Check:
    """Whether scratch servers could be made, and deleted again."""
    group = run.settings.migrations(run.header.environment).rehearsal_resource_group
    if not group:
        hint = "Name a resource group of its own in [migrations] rehearsal_resource_group."
        return Check(HINT, "downgrades are not rehearsed: there is no place for it", hint)
    told = f"the credential may make and delete scratch servers in resource group '{group}'"
    return await check(check_granted_in_group(await run.connection(), group, REHEARSE), told)
