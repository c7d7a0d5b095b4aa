"""Plans which keys are taken out of a cache. Only reads."""

from collections.abc import Iterable

from rollback.cache.choosing import Asked, Decided, choose
from rollback.cache.counting import Count, Counted, count
from rollback.cache.patience import patiently
from rollback.cache.patterns import Patterns
from rollback.cache.plans import ALL_KEYS, ClearCachePlan, Noticed
from rollback.cache.scanning import Choice
from rollback.cache.settings import Cache
from rollback.cache.topology import Primary, Topology
from rollback.context import Run
from rollback.errors import PatternRefused, PlanIsStale
from rollback.permissions import ACTIONS, READ_APP

PROCEDURE = "clear-cache"
FLUSH_SECONDS = 1.0
"""FLUSHALL ASYNC answers within milliseconds; the rest is the way there."""
UNKNOWN_EFFECT = "what its users notice is not known"
REVOKED = "revoked tokens become valid again"


async def plan(run: Run, asked: Asked, reason: str) -> ClearCachePlan:
    """Decide what goes, as absolute values; raises `PatternRefused` where it must not."""
    settings = run.settings.cache(run.header.environment)
    decided = choose(settings, asked)
    cache = await run.cache()
    await cache.check_permissions()
    await (await run.app_service()).check_permissions(ACTIONS[PROCEDURE] if asked.restart else READ_APP)
    account = await cache.account()
    choice = choice_of(decided)

    async def look() -> tuple[Topology, Counted]:
        topology = await cache.find()
        # A sample could miss the one queue that must not be deleted.
        sample_above = topology.keys if decided.everything and settings.protected else settings.sample_above_keys
        return topology, await count(topology, choice, _effects(settings), sample_above)

    topology, counted = await patiently(settings.away_seconds, look)
    if decided.everything:
        require_nothing_protected(counted)
        _require_databases_named(topology.primaries, asked.explicitly)
    counts = tuple(counted.estimate(each, counted.matched[each]) for each in choice.wanted.patterns)
    most = max(each.keys for each in topology.primaries)
    return ClearCachePlan(
        procedure=PROCEDURE,
        environment=run.header.environment,
        reason=reason,
        warnings=_warnings(settings, decided, topology, account.state),
        already_there=not counted.sampled and not any((counted.matched + counted.spared).values()),
        resource_group=settings.resource_group,
        cache=settings.name,
        kind=account.description,
        host=account.host,
        port=account.port,
        redis_database=settings.redis_database,
        everything=decided.everything,
        patterns=decided.patterns,
        guards=decided.guards,
        revocations=decided.revocations,
        explicitly=asked.explicitly,
        restart=asked.restart,
        app=run.backend.app,
        version=topology.version,
        primaries=tuple(each.name for each in topology.primaries),
        total=topology.keys,
        elsewhere=topology.keys_elsewhere,
        counts=counts,
        spared=tuple(counted.estimate(each, keys) for each, keys in counted.spared.items()),
        noticed=_noticed(settings, counted),
        counted=counted.words,
        seconds=FLUSH_SECONDS if decided.everything else FLUSH_SECONDS + most / settings.keys_a_second,
        rate="whatever their number" if decided.everything else _rate(settings),
    )


def _rate(settings: Cache) -> str:
    by = "by the platform file" if "keys_a_second" in settings.model_fields_set else "by default"
    return f"{settings.keys_a_second:,.0f} keys/s a primary, {by}"


def choice_of(plan: ClearCachePlan | Decided) -> Choice:
    """How keys are chosen."""
    return Choice(Patterns((ALL_KEYS,) if plan.everything else plan.patterns), Patterns(plan.guards))


async def check_still_holds(run: Run, made: ClearCachePlan) -> Topology:
    """Make sure that the plan's cache is still that, with about as many keys of each kind; raises `PlanIsStale`.

    Where all keys go, they are looked at once more: a queue may have got its first job since.
    """
    account = await (await run.cache()).account()
    if (account.host, account.port) != (made.host, made.port):
        raise PlanIsStale(f"Cache '{made.cache}' is at {account.host}:{account.port} now.", remedy="Plan again.")
    settings = run.settings.cache(made.environment)
    if settings.redis_database != made.redis_database:
        raise PlanIsStale(
            f"The plan is of database {made.redis_database}; redis_database is {settings.redis_database} now.",
            remedy="Plan again.",
        )
    return await patiently(settings.away_seconds, lambda: _check_keys(run, made, settings))


async def _check_keys(run: Run, made: ClearCachePlan, settings: Cache) -> Topology:
    topology = await (await run.cache()).find()
    _require_about_as_many(made, Count(what="keys", number=made.total), Count(what="keys", number=topology.keys))
    counted = await count(topology, choice_of(made), _effects(settings), settings.sample_above_keys)
    noticed = [each.count for each in made.noticed if each.effect != UNKNOWN_EFFECT]
    for told, seen in ((made.counts, counted.matched), (noticed, counted.noticed)):
        before = {each.what: each for each in told}
        for what, keys in seen.items():
            _require_about_as_many(made, before.get(what, Count(what=what, number=0)), counted.estimate(what, keys))
    if made.everything:
        await require_flushable(made, topology)
    return topology


def _require_about_as_many(made: ClearCachePlan, told: Count, now: Count) -> None:
    """Where either is from a sample, only what is certainly too many counts."""
    if not made.tolerates(told.number + (told.margin or 0), now.number - (now.margin or 0)):
        raise PlanIsStale(
            f"Cache '{made.cache}' has {now.words} of {now.what}; the plan told of {told.words}.",
            remedy="Look at what fills it, then plan again.",
        )


async def require_flushable(made: ClearCachePlan, topology: Topology) -> None:
    """Look at these servers once more: a queue may have got its first job, or another database its first key."""
    if made.guards:
        require_nothing_protected(await count(topology, choice_of(made), Patterns(()), topology.keys))
    _require_databases_named([await each.look() for each in topology.primaries], made.explicitly)


def require_nothing_protected(counted: Counted) -> None:
    """Refuse to flush a cache that has keys which are never deleted."""
    if counted.spared:
        found = ", ".join(f"{keys:,} of {name}" for name, keys in counted.spared.items())
        raise PatternRefused(
            f"All keys are also protected ones, which are never deleted: {found}.",
            remedy=f"Give patterns instead; '{ALL_KEYS}', named explicitly, deletes everything but these.",
        )


def _require_databases_named(primaries: Iterable[Primary], explicitly: tuple[str, ...]) -> None:
    elsewhere = {name: keys for each in primaries for name, keys in each.keys_elsewhere.items()}
    missing = [f"{name} ({keys:,} keys)" for name, keys in elsewhere.items() if name not in explicitly]
    if missing:
        raise PatternRefused(
            f"FLUSHALL also empties the server's other databases: {', '.join(missing)}.",
            remedy="Name each of them explicitly, as 'db1', or give patterns: these stay in their database.",
        )


def _effects(settings: Cache) -> Patterns:
    """What people notice, told in the plan."""
    return Patterns((*settings.effects, *settings.revocations))


def _noticed(settings: Cache, counted: Counted) -> tuple[Noticed, ...]:
    """Who notices, by the platform file's words; revoked tokens are told whatever it says."""
    effects = dict.fromkeys(settings.revocations, REVOKED) | settings.effects
    told = [
        Noticed(effect=effect, count=counted.estimate(pattern, counted.noticed[pattern]))
        for pattern, effect in effects.items()
        if counted.noticed[pattern]
    ]
    told += [
        Noticed(effect=UNKNOWN_EFFECT, count=counted.estimate(pattern, keys))
        for pattern, keys in counted.unnoticed.items()
    ]
    return tuple(told)


def _warnings(settings: Cache, decided: Decided, topology: Topology, state: str) -> tuple[str, ...]:
    told: list[str] = []
    if decided.revocations:
        told.append(f"HIGH RISK: {', '.join(decided.revocations)} are revoked tokens, which become valid again.")
    if state.lower() not in {"succeeded", "running"}:
        told.append(f"Azure is changing the cache: {state}.")
    if decided.everything and settings.protected:
        told.append(
            f"What comes into {', '.join(settings.protected)} between the last look and the flush is lost with it."
        )
    if topology.keys_elsewhere and not decided.everything:
        found = ", ".join(f"{name} ({keys:,} keys)" for name, keys in topology.keys_elsewhere.items())
        told.append(
            f"Only database {settings.redis_database} is looked at (redis_database); there are keys elsewhere: {found}."
        )
    if any(each.facts.get("maxmemory_policy", "").endswith("lfu") for each in topology.primaries):
        told.append("The server does not tell how long a key was idle: old keys are told by the pass alone.")
    return tuple(told)
