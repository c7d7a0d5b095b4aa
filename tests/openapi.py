"""What tests ask of the sandbox and get, held against Microsoft's OpenAPI files where they are at hand.

They are looked for beside this checkout, in ../shared/azure/specs, or where AZURE_SPECS names a folder with a copy of
(parts of) github.com/Azure/azure-rest-api-specs.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin

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
    *(
        f"postgresql/resource-manager/Microsoft.DBforPostgreSQL/preview/2023-12-01-preview/{name}.json"
        for name in ("Administrators", "Backups", "Configuration", "Databases", "FirewallRules", "FlexibleServers")
    ),
    "postgresql/resource-manager/Microsoft.DBforPostgreSQL/preview/2023-12-01-preview/ServerStartStopRestart.json",
    "resources/resource-manager/Microsoft.Resources/stable/2024-03-01/resources.json",
    "resources/resource-manager/Microsoft.Resources/stable/2022-12-01/subscriptions.json",
)
OLDER = "the files at hand are older than the API's version that clients ask for"
KIND_ONLY = "App Service sends the kind of identity, where the files have an object"
KNOWN = {
    ("Subscriptions_List", "response/"): "Azure leaves nextLink out of the last page, too, though it is required",
    ("WebApps_GetAppSettingKeyVaultReference", "response/properties/identityType"): KIND_ONLY,
    ("WebApps_GetAppSettingKeyVaultReferenceSlot", "response/properties/identityType"): KIND_ONLY,
    ("WebApps_GetAppSettingsKeyVaultReferences", "response/value/*/properties/identityType"): KIND_ONLY,
    ("WebApps_GetAppSettingsKeyVaultReferencesSlot", "response/value/*/properties/identityType"): KIND_ONLY,
    ("WebApps_SwapSlotSlot", "request/"): "Azure takes a swap without preserveVnet, too, though it is required",
    ("Backups_Get", "response/properties/backupType"): OLDER,
    ("Configurations_ListByServer", "response/value/*/properties/dataType"): OLDER,
    ("Servers_Create", "request/properties/version"): OLDER,
    ("Servers_Get", "response/properties/state"): OLDER,
    ("Servers_Get", "response/properties/version"): OLDER,
    ("Servers_List", "response/value/*/properties/state"): OLDER,
    ("Servers_List", "response/value/*/properties/version"): OLDER,
    ("Servers_ListByResourceGroup", "response/value/*/properties/state"): OLDER,
    ("Servers_ListByResourceGroup", "response/value/*/properties/version"): OLDER,
    ("Databases_Get", "response/properties/collation"): "the PostgreSQL that the sandbox starts has no other locale",
    ("Databases_ListByServer", "response/value/*/properties/collation"): "the same",
}
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
        parts = re.split(r"\{[^}]+\}", self.path.replace("/{scope}/", "/").rstrip("/"))
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


def shape(value: Any) -> object:
    """What two contents have in common that no schema tells apart; words stay, as they may be of an enumeration."""
    if isinstance(value, dict):
        return tuple((name, shape(each)) for name, each in value.items())
    if isinstance(value, list):
        return frozenset(shape(each) for each in value)
    return value if isinstance(value, str) and value.isalpha() else type(value)


def violations(record: Iterable[str], root: Path = SPECS) -> list[str]:
    """What a sandbox recorded, an entry a line, and is not as the files say."""
    described, left = operations(root), dict[tuple[str, str], str]()
    checked = set[object]()

    @cache
    def operation_of(method: str, path: str) -> Operation | None:
        return next((each for each in described if each.method == method and each.pattern.fullmatch(path)), None)

    for line in record:
        entry = json.loads(line)
        operation = operation_of(entry["method"], re.sub("/+", "/", entry["path"]))
        if operation is None or entry["status"] in (401, 501):
            continue
        looks = (operation.name, entry["status"], shape(entry["request"]), shape(entry["response"]))
        if looks in checked:
            continue
        checked.add(looks)
        for place, message in check(entry, operation):
            left.setdefault((operation.name, place), f"{operation.name} {place}: {message}: {entry['path']}")
    return [told for each, told in sorted(left.items()) if each not in KNOWN]
