"""The few functions by which templates write a database's URL."""

from typing import Any

import pytest

from rollback.infrastructure.expressions import UNKNOWN, evaluate

KNOWN = {"server": "db", "password": "it's", "variables/name": "[format('{0}-pg', parameters('server'))]"}


def reference(resource: str) -> Any:
    return {"host": "db.example"} if resource == "Microsoft.X/servers/db" else UNKNOWN


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("plain", "plain"),
        (7, 7),
        ("[[text]", "[text]"),
        ("[parameters('Server')]", "db"),
        ("[variables('name')]", "db-pg"),
        ("[concat('a', 'b''c', 1)]", "ab'c1"),
        ("[format('{1}/{0}', parameters('server'), uriComponent('a b'))]", "a%20b/db"),
        ("[ reference(resourceId('Microsoft.X/servers', parameters('server')), '2020').host ]", "db.example"),
        ("[parameters('nosuch')]", UNKNOWN),
        ("[format('{0}', parameters('nosuch'))]", UNKNOWN),
        ("[reference(resourceId('Microsoft.X/servers', 'other')).host]", UNKNOWN),
        ("[reference(resourceId('Microsoft.X/servers', 'db')).nosuch]", UNKNOWN),
        ("[listKeys('x', '2020').key]", UNKNOWN),
        ("[format('{2}', 'a')]", UNKNOWN),
        ("[format('a'", "[format('a'"),
        ("[format('a']", UNKNOWN),
        ("[format('a' 'b')]", UNKNOWN),
        ("[]", UNKNOWN),
        ("[if(true(), 'a', 'b')]", UNKNOWN),
    ],
)
def test_a_value_is_what_it_comes_to_or_unknown(expression: Any, value: Any) -> None:
    assert evaluate(expression, KNOWN, reference) == value
