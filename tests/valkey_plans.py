"""A plan of clearing a cache, for tests that need no Azure."""

from rollback.cache.counting import Count
from rollback.cache.plans import ClearCachePlan


def make_plan(patterns: tuple[str, ...], guards: tuple[str, ...] = (), *, everything: bool = False) -> ClearCachePlan:
    return ClearCachePlan(
        procedure="clear-cache",
        environment="production",
        reason="a test",
        resource_group="a-group",
        cache="a-cache",
        kind="a cache",
        host="127.0.0.1",
        port=6380,
        everything=everything,
        patterns=patterns,
        guards=guards,
        revocations=(),
        explicitly=(),
        restart=False,
        app="an-app",
        version="9",
        primaries=("127.0.0.1:6380",),
        total=0,
        counts=(Count(what="*", number=0),),
        spared=(),
        noticed=(),
        counted="a full scan",
        seconds=1,
        rate="",
    )
