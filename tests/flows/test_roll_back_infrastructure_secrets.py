"""What apps sign in with is in nothing that a rollback of infrastructure keeps or shows, however it is called."""

import json
from pathlib import Path
from typing import Any

import pytest
from infrastructure import SITE, Infrastructure, main_template, make_infrastructure, roll_back
from support import V2, World

from rollback.infrastructure.plans import RollBackInfrastructurePlan
from rollback.outcomes import EndState
from rollback.redaction import BLACK

STRIPE = "sk_live_51H8abcdefghijklmnop"
PHRASE = "correct horse battery staple"
BUS_KEY = "c2VjcmV0c2VjcmV0c2VjcmV0MTIz="
BUS = f"Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=root;SharedAccessKey={BUS_KEY}"
REFERENCE = "@Microsoft.KeyVault(SecretUri=https://fundrbolt-production-kv.vault.azure.net/secrets/session-secret)"
DATABASE = "@Microsoft.KeyVault(SecretUri=https://fundrbolt-production-kv.vault.azure.net/secrets/database-url)"
"""Without it the template would be refused."""
SECRETS = (STRIPE, PHRASE, BUS_KEY)


@pytest.fixture
async def infrastructure(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Infrastructure:
    return await make_infrastructure(world, tmp_path, monkeypatch)


def config(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "Microsoft.Web/sites/config",
        "apiVersion": "2023-12-01",
        "name": f"{SITE}/{name}",
        "properties": properties,
    }


async def rows(infrastructure: Infrastructure, resource: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """What the plan for a template with this resource too shows of each property; no secret is kept anywhere."""
    infrastructure.repository.commit(V2, main_template(V2, resource))
    outcome = await roll_back(dry_run=True)
    assert outcome.end_state is EndState.PLANNED, outcome
    run = infrastructure.store.get(outcome.run)
    kept = {each.name: each.read_bytes() for each in run.folder.iterdir() if each.is_file()}
    for name, content in (kept | {"outcome": outcome.model_dump_json().encode()}).items():
        assert not [each for each in SECRETS if each.encode() in content], name
    made = run.plan(RollBackInfrastructurePlan)
    assert made is not None
    return {each.path: (each.before, each.after) for each in made.differences()}


async def test_an_app_setting_is_black_whatever_it_is_called_unless_it_refers_to_a_vault(
    infrastructure: Infrastructure,
) -> None:
    settings = {
        "Stripe": STRIPE,
        "ServiceBus": BUS,
        "motto": PHRASE,
        "Session": REFERENCE,
        "Pool": "8",
        "DATABASE_URL": DATABASE,
    }
    told = await rows(infrastructure, config("appsettings", settings))
    assert told["properties.Stripe"] == told["properties.ServiceBus"] == told["properties.motto"] == ("", BLACK)
    assert told["properties.Session"] == ("", REFERENCE)
    assert told["properties.Pool"] == ("", "8")


async def test_a_connection_string_is_black_and_its_type_is_shown(infrastructure: Infrastructure) -> None:
    told = await rows(infrastructure, config("connectionstrings", {"Bus": {"type": "Custom", "value": BUS}}))
    assert json.loads(told["properties.Bus"][1]) == {"type": "Custom", "value": BLACK}


async def test_what_a_site_has_of_both_in_its_own_configuration_is_black_too(infrastructure: Infrastructure) -> None:
    site = {
        "type": "Microsoft.Web/sites",
        "apiVersion": "2023-12-01",
        "name": SITE,
        "location": "eastus",
        "properties": {
            "siteConfig": {
                "appSettings": [{"name": "motto", "value": PHRASE}, {"name": "DATABASE_URL", "value": DATABASE}],
                "connectionStrings": [{"name": "Bus", "type": "Custom", "connectionString": BUS}],
            }
        },
    }
    told = await rows(infrastructure, site)
    assert told["properties.siteConfig.appSettings.motto"] == ("", BLACK)
    (bus,) = json.loads(told["properties.siteConfig.connectionStrings"][1])
    assert bus == {"name": "Bus", "type": "Custom", "connectionString": BLACK}
