"""An archive has everything of an environment but its secrets, and says what it lacks and what changed."""

from reverting import Things, archive

from rollback.outcomes import EndState


async def test_every_resource_and_what_belongs_to_it_is_kept(things: Things) -> None:
    outcome = await archive()
    assert outcome.end_state is EndState.ARCHIVED, outcome
    index = things.index()
    kept = {entry["id"].rpartition("/providers/")[2] for entry in index["entries"]}
    assert {
        "Microsoft.Web/sites/fundrbolt-production-api",
        "Microsoft.Web/sites/fundrbolt-production-api/slots/staging",
        "Microsoft.Web/sites/fundrbolt-production-api/config/web",
        "Microsoft.Web/sites/fundrbolt-production-api/slots/staging/config/appsettings",
        "Microsoft.KeyVault/vaults/fundrbolt-production-kv",
        "Microsoft.DBforPostgreSQL/flexibleServers/fundrbolt-production-pg",
        "Microsoft.Web/staticSites/fundrbolt-production-web",
    } <= kept
    assert not [each for each in kept if "staging-api" in each]
    assert index["unread"] == {}
