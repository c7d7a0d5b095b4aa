"""What was asked of Azure's APIs and what was answered, one JSON object a line: to hold against Microsoft's OpenAPI.

Bodies are kept as far as they are JSON, without secrets: what such a thing may hold is replaced, its type stays.
"""

import json
from pathlib import Path
from typing import Any, cast

from aiohttp import web
from pydantic import JsonValue

REPLACED = "replaced"
SECRET_NAMES = {
    "administratorloginpassword",
    "publishingpassword",
    "scmuri",
    "instrumentationkey",
    "connectionstring",
    "apikey",
    "primarykey",
    "secondarykey",
    "appzipurl",
    "value",
    "valueincurrentslot",
    "valueintargetslot",
}
SECRET_MAPS = ("/config/appsettings",)
"""Resources whose properties have names that a user chose, and values that nobody else should read."""


class Recorder:
    """Appends to a file; does nothing without one."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    async def note(self, request: web.Request, host: str, response: web.StreamResponse) -> None:
        """Keep one request and its answer."""
        if self._file is None:
            return
        answer = response.body if isinstance(response, web.Response) else None
        entry = {
            "method": request.method,
            "host": host,
            "path": request.path,
            "query": dict(request.query),
            "request": _kept(request.path, await request.read()),
            "status": response.status,
            "response": _kept(request.path, answer if isinstance(answer, bytes) else b""),
        }
        with self._file.open("a", encoding="utf-8") as output:
            output.write(json.dumps(entry) + "\n")


def _kept(path: str, body: bytes) -> JsonValue:
    if not body:
        return None
    try:
        content: Any = json.loads(body)
    except ValueError:
        return None
    if any(each in path.lower() for each in SECRET_MAPS) and isinstance(content, dict):
        resource = cast("dict[str, Any]", content)
        return {**resource, "properties": _emptied(resource.get("properties"))}
    return _cleaned(content)


def _emptied(value: Any) -> Any:
    """Every text below is replaced."""
    if isinstance(value, dict):
        return {name: _emptied(each) for name, each in cast("dict[str, Any]", value).items()}
    return REPLACED if isinstance(value, str) else value


def _cleaned(value: Any) -> Any:
    """Texts under a name that stands for a secret are replaced."""
    if isinstance(value, list):
        return [_cleaned(each) for each in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    return {
        name: REPLACED if name.lower() in SECRET_NAMES and isinstance(each, str) else _cleaned(each)
        for name, each in cast("dict[str, Any]", value).items()
    }
