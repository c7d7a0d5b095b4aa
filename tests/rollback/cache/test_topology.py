"""Which servers have a cache's keys: told only where every key has one."""

from typing import Any

import pytest
from valkey_server import Cluster

from rollback.errors import CacheMoved


async def test_a_cluster_with_a_slot_that_no_server_has_is_waited_for(cluster_run: Any, cluster: Cluster) -> None:
    for node in cluster.nodes:
        # Else it says by itself that it is down.
        await node.command("CONFIG", "SET", "cluster-require-full-coverage", "no")
    assert len((await cluster_run.find()).primaries) == 3
    await cluster.nodes[0].command("CLUSTER", "DELSLOTS", 0)
    with pytest.raises(CacheMoved, match="Not every slot of the cluster has a server"):
        await cluster_run.find()
