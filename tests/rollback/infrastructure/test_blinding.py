"""What is black in a what-if: decided by where it is first, and by what it is called or looks like then."""

from typing import Any

import pytest

from rollback.infrastructure.blinding import Blinding
from rollback.redaction import BLACK

BLINDING = Blinding(b"a key of a test")
CONFIG = "Microsoft.Web/sites/config"


def shown(raw: Any, path: str, kind: str = CONFIG, name: str = "api/appsettings") -> Any:
    return BLINDING.shown(raw, path, kind, name)


@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [
        (CONFIG, "api/appsettings", "properties.motto"),
        (CONFIG, "api/appsettings", "properties.Logging.type"),
        (CONFIG, "api/AppSettings", "properties[a setting called name].motto"),
        ("Microsoft.Web/sites/slots/config", "api/previous/connectionstrings", "properties.Bus.value"),
        ("Microsoft.Web/staticSites/config", "site/functionappsettings", "properties.motto"),
        ("Microsoft.Web/sites", "api", "properties.siteConfig.appsettings[motto].value"),
        ("Microsoft.Web/sites", "api", "properties.siteConfig.appSettings.name"),
        (CONFIG, "api/web", "properties.appSettings[0].value"),
    ],
)
def test_a_value_of_a_setting_is_black(kind: str, name: str, path: str) -> None:
    assert shown("correct horse", path, kind, name) == BLACK
    assert shown(1234567890, path, kind, name) == BLACK
    assert shown("8", path, kind, name) == "8"


def test_what_is_configured_beside_the_settings_is_shown() -> None:
    assert shown("TLS 1.2 only", "properties.minTlsVersion", CONFIG, "api/web") == "TLS 1.2 only"
    assert shown("PostgreSQL", "properties.Bus.type", CONFIG, "api/connectionstrings") == "PostgreSQL"
    assert shown("correct horse", "properties.siteConfig.appSettings[0].name", "Microsoft.Web/sites", "api") == (
        "correct horse"
    )


def test_a_settings_expression_is_shown_without_the_texts_in_it() -> None:
    expression = "[concat('it''s, ', 'a', 'sk_live_1', reference(resourceId('Microsoft.Web/sites', variables('api'))))]"
    assert shown(expression, "properties.motto") == (
        f"[concat('{BLACK}', '{BLACK}', '{BLACK}', reference(resourceId('Microsoft.Web/sites', variables('api'))))]"
    )


def test_a_list_that_a_setting_holds_as_json_is_no_expression() -> None:
    value = BLINDING.value('["correct horse"]', "properties.MOTTOS", CONFIG, "api/appsettings")
    assert value is not None
    assert (value.text, value.unresolved) == (BLACK, False)
