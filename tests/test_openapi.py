"""How what a sandbox recorded is held against OpenAPI files: on a small one of our own."""

import json
from pathlib import Path

import openapi
import pytest

CACHES = "/subscriptions/{subscriptionId}/providers/Microsoft.Cache/redis/"
CACHE = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "state": {"enum": ["Creating", "Succeeded"]}},
}
DESCRIBED = {
    "paths": {
        CACHES: {
            "get": {
                "operationId": "Redis_List",
                "responses": {"200": {"schema": {"type": "array", "items": {"$ref": "#/definitions/Cache"}}}},
            },
            "post": {
                "operationId": "Redis_Create",
                "parameters": [{"in": "body", "schema": {"$ref": "#/definitions/Cache"}}],
                "responses": {"202": {"description": "It is being made."}},
            },
        }
    },
    "definitions": {"Cache": CACHE},
}
ASKED = "/subscriptions/1/providers/microsoft.cache/redis"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    [name] = [each for each in openapi.NEEDED if each.endswith("/redis.json")]
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(json.dumps(DESCRIBED))
    return tmp_path


def entry(method: str, status: int, response: object = None, request: object = None, path: str = ASKED) -> str:
    return json.dumps({"method": method, "path": path, "status": status, "request": request, "response": response})


def test_what_is_as_described_is_not_told_nor_what_is_described_nowhere(root: Path) -> None:
    good = [{"name": "one", "state": "Succeeded"}, {"name": "two", "state": None}]
    record = [entry("GET", 200, good), entry("POST", 202, request=good[0]), entry("GET", 200, 7, path="/metrics")]
    assert openapi.violations(record, root) == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (entry("GET", 200, [{"name": 7}]), "Redis_List response/*/name: 7 is not of type 'string'"),
        (entry("GET", 200, [{}]), "Redis_List response/*: 'name' is a required property"),
        (entry("GET", 204), "Redis_List status: 204 is not described"),
        (entry("POST", 202, request={}), "Redis_Create request/: 'name' is a required property"),
    ],
)
def test_what_is_not_as_described_is_told_with_operation_and_place(root: Path, wrong: str, told: str) -> None:
    assert openapi.violations([wrong], root) == [f"{told}: {ASKED}"]


def test_a_word_that_is_none_of_an_enumeration_is_found_behind_many_that_are(root: Path) -> None:
    record = [entry("GET", 200, [{"name": "one", "state": each}]) for each in ("Creating", "Succeeded", "Lost")]
    assert openapi.violations(record, root) == [
        f"Redis_List response/*/state: 'Lost' is not one of ['Creating', 'Succeeded']: {ASKED}"
    ]


def test_what_is_known_is_not_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(openapi.KNOWN, ("Redis_List", "response/*"), "Azure leaves it out")
    assert openapi.violations([entry("GET", 200, [{}])], root) == []
