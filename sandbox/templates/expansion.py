"""A template with its parameters, expanded: the resources that it declares, in an order that can be deployed.

*Source:* learn.microsoft.com, "Understand the structure and syntax of ARM templates" and "Using linked and nested
templates when deploying Azure resources".
"""

import re
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from sandbox.templates.context import OWN, Context, Reader
from sandbox.templates.errors import (
    RESOURCES,
    ExpressionError,
    NotYetError,
    TemplateError,
    UnsupportedError,
    deploying,
    invalid,
    validating,
)
from sandbox.templates.evaluation import copies, evaluate, references
from sandbox.templates.parameters import SECURE, TYPES, Parameters, Variables, type_of
from sandbox.templates.resources import (
    DEPLOYMENTS,
    Instance,
    Known,
    declared_dependencies,
    instances,
    nested_scope,
    serial_batches,
)
from sandbox.templates.scopes import Scope
from sandbox.templates.values import is_object

__all__ = [
    "Declared",
    "Expansion",
    "NotYetError",
    "Reader",
    "Scope",
    "TemplateError",
    "UnsupportedError",
    "expand",
]

SCHEMAS = {False: "subscriptionDeploymentTemplate", True: "deploymentTemplate"}
"""By whether the scope is a resource group."""
SCHEMA = re.compile(r"https?://schema\.management\.azure\.com/schemas/[\d-]+(preview)?/(?P<kind>\w+)\.json#?")
FRAME = {
    "apiversion",
    "asserts",
    "comments",
    "condition",
    "copy",
    "dependson",
    "existing",
    "metadata",
    "name",
    "resourcegroup",
    "resources",
    "scope",
    "subscriptionid",
    "type",
}
"""What the template says of a resource to the deployment, and not to the resource's provider."""
ELSEWHERE = ("functions", "definitions", "imports", "extensions")
"""Sections that are not done here."""


@dataclass(frozen=True)
class Declared:
    """One resource of a template: copies are unrolled, and what has a false condition is left out."""

    id: str
    type: str
    name: str
    api_version: str
    scope: Scope
    """Where its template is deployed."""
    depends_on: tuple[str, ...]
    """Ids of resources of the same template."""
    source: dict[str, Any] = field(repr=False)
    context: Context = field(repr=False)

    def body(self, reader: Reader) -> dict[str, Any]:
        """What is sent to its provider: location, tags, sku, properties…; a deployment's without template."""
        return self._evaluated(replace(self.context, reader=reader))

    def preview(self, reader: Reader) -> dict[str, Any]:
        """The same; an expression that needs what is not there yet, or a secure parameter, stays as it is written."""
        return self._evaluated(replace(self.context, reader=reader, showing=True))

    def nested(self, reader: Reader) -> "Expansion":
        """What a nested deployment declares."""
        properties = self.source["properties"]
        context = replace(self.context, reader=reader)
        with deploying(self.id):
            target = self._target(reader)
            if not _is_inner(properties):
                return _expanded(properties["template"], self.context, target, None)
            given = {name: _passed(entry, context) for name, entry in properties.get("parameters", {}).items()}
        return expand(properties["template"], given, target)

    def _evaluated(self, context: Context) -> dict[str, Any]:
        source = {name: value for name, value in self.source.items() if name.lower() not in FRAME}
        if self.type.lower() == DEPLOYMENTS:
            kept = source["properties"].items()
            source["properties"] = {name: value for name, value in kept if name not in ("template", "parameters")}
        with deploying(self.id):
            return evaluate(source, context)

    def _target(self, reader: Reader) -> Scope:
        where = nested_scope(self.source, self.context, self.scope).split("/")
        subscription, group = where[2], where[4] if len(where) > 4 else None
        if group is None:
            location = evaluate(self.source.get("location", self.scope.location), self.context)
        elif group.lower() == (self.scope.group or "").lower() and subscription == self.scope.subscription_id:
            location = self.scope.location
        else:
            location = reader.group_location(group)
        return Scope(self.scope.tenant_id, subscription, group, location, self.name)


@dataclass(frozen=True)
class Expansion:
    """A template with its parameters."""

    resources: tuple[Declared, ...]
    """Each after those that it depends on."""
    shown_parameters: dict[str, dict[str, Any]]
    """As a deployment's properties show them: secure ones without a value."""
    template: dict[str, Any] = field(repr=False)
    context: Context = field(repr=False)

    def outputs(self, reader: Reader) -> dict[str, dict[str, Any]]:
        """As a deployment's properties show them once everything is deployed."""
        context = replace(self.context, reader=reader)
        made: dict[str, dict[str, Any]] = {}
        for name, output in self.template.get("outputs", {}).items():
            try:
                if evaluate(output.get("condition", True), context):
                    made[name] = _output(output, context)
            except ExpressionError as error:
                message = (
                    f"Unable to evaluate template outputs: '{name}'. Please see error details and deployment "
                    "operations. Please see https://aka.ms/arm-common-errors for usage details. "
                    f"The template output '{name}' is not valid: {error}"
                )
                raise TemplateError("DeploymentOutputEvaluationFailed", message) from error
        return made


def expand(template: dict[str, Any], parameters: dict[str, Any], scope: Scope) -> Expansion:
    """Expand a template with parameters as a parameter file has them (`{"name": {"value": …}}`).

    `TemplateError` is Azure's refusal, `UnsupportedError` names what Azure would do and the sandbox does not.
    """
    _check_frame(template, scope)
    bound = Parameters(template.get("parameters", {}), parameters, scope)
    variables = Variables(template.get("variables", {}), scope, bound)
    return _expanded(template, Context(scope, bound, variables), scope, bound)


def _check_frame(template: dict[str, Any], scope: Scope) -> None:
    for name in ("$schema", "contentVersion", "resources"):
        if name not in template:
            message = f"Deployment template parse failed: 'Required property '{name}' not found in JSON. Path ''.'."
            raise TemplateError("InvalidTemplate", message)
    found, wanted = SCHEMA.fullmatch(template["$schema"]), SCHEMAS[scope.group is not None]
    if found is None or found["kind"] != wanted:
        raise invalid(
            f"Template schema '{template['$schema']}' is not supported at this scope. Supported is '{wanted}.json'.",
            "https://aka.ms/arm-template",
        )
    for name in ELSEWHERE:
        if template.get(name):
            raise UnsupportedError(f"'{name}' of a template")


def _expanded(template: dict[str, Any], context: Context, target: Scope, bound: Parameters | None) -> Expansion:
    """`context` is where expressions are evaluated, `target` where resources go: they differ in an outer scope."""
    if bound is None and (template.get("parameters") or template.get("variables")):
        raise UnsupportedError("Parameters or variables of a nested template with outer scope")
    made = instances(template["resources"], context, target)
    known = Known(made, replace(context, scope=target))
    dependencies = {each.id: _dependencies(each, made, known) for each in made if each.declared}
    by_id = {each.id: each for each in made if each.declared}
    resources = [_declared(by_id[found], dependencies[found], known, target) for found in _ordered(dependencies)]
    shown = {} if bound is None else bound.shown()
    return Expansion(tuple(resources), shown, template, replace(context, resources=known))


def _declared(each: Instance, dependencies: list[str], known: Known, target: Scope) -> Declared:
    return Declared(
        id=each.id,
        type=each.kind,
        name=each.name,
        api_version=each.api_version,
        scope=target,
        depends_on=tuple(dependencies),
        source=each.source,
        context=replace(each.context, resources=known),
    )


def _dependencies(each: Instance, made: list[Instance], known: Known) -> list[str]:
    """Ids of what it depends on: as it says, by what its expressions refer to, and by the order of its loop."""
    source = {name: value for name, value in each.source.items() if name.lower() not in FRAME}
    if each.kind.lower() == DEPLOYMENTS:
        properties = _nested_properties(each)
        source["properties"] = properties.get("parameters", {}) if _is_inner(properties) else properties
    with validating(f"template resource '{each.name}'"):
        found = [other for name in declared_dependencies(each) for other in known.depended(name)]
        named = references(source, replace(each.context, resources=known))
        ids = {known.resolve(name)[0].lower() for name in named}
    found += [other for other in made if other.declared and other.id.lower() in ids]
    found += serial_batches(each, made)
    return list(dict.fromkeys(other.id for other in found))


def _ordered(dependencies: dict[str, list[str]]) -> list[str]:
    try:
        return list(TopologicalSorter(dependencies).static_order())
    except CycleError as error:
        raise invalid(f"Circular dependency detected on resource: '{error.args[1][0]}'.", RESOURCES) from error


def _nested_properties(each: Instance) -> dict[str, Any]:
    properties = each.source.get("properties")
    if not is_object(properties):
        raise invalid("A nested deployment must have properties.", RESOURCES)
    if "templateLink" in properties or "parametersLink" in properties:
        raise UnsupportedError("A linked template ('templateLink')")
    if not is_object(properties.get("template")):
        raise invalid("A nested deployment must have a template.", RESOURCES)
    return properties


def _is_inner(properties: dict[str, Any]) -> bool:
    options = properties.get("expressionEvaluationOptions", {})
    return str(options.get("scope", "outer")).lower() == "inner"


def _passed(entry: Any, context: Context) -> Any:
    """A nested deployment's parameter, evaluated outside of it."""
    return entry if is_object(entry) and "reference" in entry else evaluate(entry, context)


def _output(output: dict[str, Any], context: Context) -> dict[str, Any]:
    kind = type_of(output)
    if kind in SECURE:
        return {"type": TYPES[kind][0]}
    loop = output.get("copy")
    if loop is not None:
        value = [evaluate(loop["input"], each) for each in copies(loop, context, OWN, needs=("count", "input"))]
    elif "value" in output:
        value = evaluate(output["value"], context)
    else:
        raise ExpressionError("An output must have a value or a copy element.")
    return {"type": TYPES[kind][0], "value": value}
