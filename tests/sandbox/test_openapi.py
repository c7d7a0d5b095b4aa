"""What the sandbox's own tests ask and get, held against Microsoft's OpenAPI files where they are at hand.

They are looked for beside this checkout, in ../shared/azure/specs, or where AZURE_SPECS names a folder with a copy of
(parts of) github.com/Azure/azure-rest-api-specs.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin

import pytest
from jsonschema import Draft4Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4
from support import ROOT

SPECS = Path(os.environ.get("AZURE_SPECS", ROOT.parent / "shared" / "azure" / "specs"))
NEEDED = (
    "web/resource-manager/Microsoft.Web/stable/2023-12-01/WebApps.json",
    "web/resource-manager/Microsoft.Web/stable/2023-12-01/StaticSites.json",
    "redis/resource-manager/Microsoft.Cache/stable/2024-03-01/redis.json",
    "keyvault/data-plane/Microsoft.KeyVault/stable/7.5/secrets.json",
    "resources/resource-manager/Microsoft.Resources/stable/2024-03-01/resources.json",
    "resources/resource-manager/Microsoft.Resources/stable/2022-12-01/subscriptions.json",
)
TESTS = (
    "test_web.py",
    "test_web_extras.py",
    "test_swap.py",
    "test_arm.py",
    "test_keyvault.py",
    "test_static_sites.py",
    "test_redis.py",
)
KNOWN = {("Subscriptions_List", "response/"): "Azure leaves nextLink out of the last page, too, though it is required"}
"""Operation and place of what is left, and why."""


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


@cache
def loaded(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8-sig"))


def retrieve(uri: str) -> Resource[Any]:
    return Resource(loaded(Path(unquote(uri.removeprefix("file://")))), DRAFT4)


REGISTRY: Registry[Any] = Registry(retrieve=retrieve)


def absolute(schema: Any, file: Path) -> Any:
    """The schema with references that hold outside of its file, too."""
    if isinstance(schema, list):
        return [absolute(each, file) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: urljoin(file.as_uri(), each) if name == "$ref" else absolute(each, file) for name, each in schema.items()
    }


@dataclass(frozen=True)
class Operation:
    name: str
    file: Path
    method: str
    path: str
    described: dict[str, Any]

    @property
    def pattern(self) -> re.Pattern[str]:
        # A secret's newest version is asked for with nothing in the place of the version.
        parts = re.split(r"\{[^}]+\}", self.path.replace("/{scope}/", "/"))
        prefix = ".+" if self.path.startswith("/{scope}/") else ""
        return re.compile(prefix + "[^/]*".join(re.escape(part) for part in parts) + "/?", re.IGNORECASE)

    def violations(self, schema: dict[str, Any], content: Any) -> Iterator[tuple[str, str]]:
        for error in Draft4Validator(absolute(schema, self.file), registry=REGISTRY).iter_errors(
            without_nulls(content)
        ):
            place = "/".join("*" if isinstance(part, int) else str(part) for part in error.absolute_path)
            yield place, error.message[:200]

    def body_schema(self) -> dict[str, Any] | None:
        found = [each for each in self.described.get("parameters", []) if each.get("in") == "body"]
        return found[0]["schema"] if found else None

    def response(self, status: int) -> dict[str, Any] | None:
        responses = self.described["responses"]
        return responses.get(str(status)) or (responses.get("default") if status >= 400 else None)


def operations(root: Path) -> list[Operation]:
    found = []
    for name in NEEDED:
        file = next(iter(root.rglob(name)), None)
        if file is None:
            continue
        found += [
            Operation(each["operationId"], file, method.upper(), path, each)
            for path, methods in loaded(file)["paths"].items()
            for method, each in methods.items()
            if method != "parameters" and (path.startswith("/{scope}/") or not path.startswith("/{"))
        ]
    # A path with fewer placeholders is meant where two match.
    return sorted(found, key=lambda each: each.path.count("{"))


def check(entry: dict[str, Any], operation: Operation) -> Iterator[tuple[str, str]]:
    response = operation.response(entry["status"])
    if response is None:
        yield "status", f"{entry['status']} is not described"
        return
    if "schema" in response and response["schema"].get("type") != "file" and entry["response"] is not None:
        for place, message in operation.violations(response["schema"], entry["response"]):
            yield f"response/{place}", message
    body = operation.body_schema()
    if body is not None and entry["request"] is not None and entry["status"] < 400:
        for place, message in operation.violations(body, entry["request"]):
            yield f"request/{place}", message


@pytest.mark.skipif(not SPECS.is_dir(), reason="Microsoft's OpenAPI files are not at hand")
def test_what_was_recorded_is_as_microsoft_describes_it(tmp_path):
    record = tmp_path / "record.jsonl"
    files = [str(ROOT / "tests" / "sandbox" / name) for name in TESTS]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'tests'}", *files]
    environment = {**os.environ, "SANDBOX_RECORD": str(record), "AZURE_SPECS": "none"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=300)
    described, seen, left = operations(SPECS), set[str](), dict[tuple[str, str], str]()
    for line in record.read_text().splitlines():
        entry = json.loads(line)
        if entry["status"] in (401, 501):
            continue
        path = re.sub("/+", "/", entry["path"])
        matching = (each for each in described if each.method == entry["method"] and each.pattern.fullmatch(path))
        if (operation := next(matching, None)) is None:
            continue
        seen.add(operation.name)
        for place, message in check(entry, operation):
            left.setdefault((operation.name, place), message)
    unknown = {each: message for each, message in left.items() if each not in KNOWN}
    assert not unknown, "\n" + "\n".join(f"{name} {place}: {told}" for (name, place), told in sorted(unknown.items()))
    assert len(seen) > 30, "nothing was recorded"
    assert KNOWN.keys() <= left.keys(), "something that was left is mended: take it out of the list"
