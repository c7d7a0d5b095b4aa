"""What a request about a deployment says.

The Azure CLI puts the template's file into the body as it is, behind an unquoted key: comments, line breaks in strings
and a comma too many are let through, as Azure does.
"""

import json
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.arm import ArmError, Call, missing

LENIENT = re.compile(
    r'(?P<text>"(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/|(?P<key>[A-Za-z_$][\w$]*)(?=\s*:)|,(?=\s*[}\]])', re.DOTALL
)


class Camel(BaseModel):
    """A part of the body in Azure's spelling."""

    model_config = ConfigDict(populate_by_name=True)


class WhatIfSettings(Camel):
    """Azure's DeploymentWhatIfSettings."""

    format: Literal["FullResourcePayloads", "ResourceIdOnly"] = Field(
        default="FullResourcePayloads", alias="resultFormat"
    )


class DebugSetting(Camel):
    """Azure's DebugSetting."""

    level: str | None = Field(default=None, alias="detailLevel")


class Properties(Camel):
    """Azure's DeploymentProperties and DeploymentWhatIfProperties."""

    template: dict[str, Any] | None = None
    template_link: dict[str, Any] | None = Field(default=None, alias="templateLink")
    parameters: dict[str, Any] | None = Field(default=None, repr=False)
    parameters_link: dict[str, Any] | None = Field(default=None, alias="parametersLink")
    mode: Literal["Incremental", "Complete"]
    on_error: dict[str, Any] | None = Field(default=None, alias="onErrorDeployment")
    debug: DebugSetting | None = Field(default=None, alias="debugSetting")
    what_if: WhatIfSettings = Field(default_factory=WhatIfSettings, alias="whatIfSettings")


class Wish(BaseModel):
    """Azure's Deployment."""

    location: str | None = None
    tags: dict[str, str] | None = None
    properties: Properties

    @property
    def template(self) -> dict[str, Any]:
        """The template; `read` makes sure that there is one."""
        return self.properties.template or {}


def loads(text: str) -> Any:
    """JSON as the Azure CLI writes it."""
    strict = LENIENT.sub(lambda found: found["text"] or (f'"{found["key"]}"' if found["key"] else ""), text)
    return json.loads(strict, strict=False)


def read(call: Call) -> Wish:
    """The body, or Azure's 400; 501 for what is not honoured."""
    try:
        wish = Wish.model_validate(loads(call.body.decode("utf-8-sig")))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _unreadable(f"{where}: {first['msg']}") from error
    except ValueError as error:
        raise _unreadable(str(error)) from error
    properties = wish.properties
    if properties.on_error:
        raise missing(call.request, "onErrorDeployment (rollback on error) is not honoured")
    if properties.template_link or properties.parameters_link:
        raise missing(
            call.request, "templates and parameters behind a link (templateLink, parametersLink) are not read"
        )
    if properties.template is None:
        message = "The request content was invalid. Either 'template' or 'templateLink' must be specified."
        raise ArmError(400, "InvalidRequestContent", message)
    return wish


def _unreadable(what: str) -> ArmError:
    message = f"The request content was invalid and could not be deserialized: '{what}'."
    return ArmError(400, "InvalidRequestContent", message)
