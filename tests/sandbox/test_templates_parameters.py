"""Parameters of ARM templates: what is taken, what is refused, and that secure ones are never shown."""

import json
import re
from typing import Any

import pytest
from templates import AT_GROUP, Deployed, nested, storage, template

from sandbox.templates.expansion import Expansion, TemplateError, UnsupportedError, expand

USE = storage("only", properties={"value": "[parameters('x')]"})


def expanded(declaration: dict[str, Any], *given: Any) -> Expansion:
    """A template with the parameter x, which is given the value `given` if any."""
    made = template(USE, parameters={"x": declaration})
    return expand(made, {"x": {"value": given[0]}} if given else {}, AT_GROUP)


def refusal(declaration: dict[str, Any], *given: Any) -> str:
    with pytest.raises(TemplateError) as refused:
        expanded(declaration, *given)
    assert refused.value.code == "InvalidTemplate"
    return refused.value.message


@pytest.mark.parametrize(
    ("kind", "shown", "value"),
    [
        ("string", "String", "a"),
        ("String", "String", ""),
        ("int", "Int", 5),
        ("bool", "Bool", False),
        ("array", "Array", [1]),
        ("object", "Object", {"a": "[not evaluated]"}),
    ],
)
def test_a_given_value_is_used_as_it_is_and_shown(kind: str, shown: str, value: object):
    made = expanded({"type": kind}, value)
    assert made.shown_parameters == {"x": {"type": shown, "value": value}}
    assert made.resources[0].body(Deployed())["properties"] == {"value": value}


@pytest.mark.parametrize(("kind", "value"), [("secureString", "hunter2"), ("secureObject", {"password": "hunter2"})])
def test_a_secure_value_is_sent_and_never_shown(kind: str, value: object):
    made = expanded({"type": kind}, value)
    assert made.shown_parameters == {"x": {"type": f"S{kind[1:]}"}}
    assert made.resources[0].body(Deployed())["properties"] == {"value": value}
    assert made.resources[0].preview(Deployed())["properties"] == {"value": "[parameters('x')]"}
    assert "hunter2" not in repr(made)


def test_a_secure_value_stays_hidden_behind_variables_and_in_nested_templates():
    variables = {"url": "[format('postgresql://app:{0}@server', parameters('secret'))]", "safe": "[toUpper('a')]"}
    inner = template(
        storage("inside", properties={"url": "[variables('url')]", "safe": "[variables('safe')]"}),
        parameters={"secret": {"type": "secureString"}},
        variables=variables,
    )
    outer = nested("into", inner, parameters={"secret": {"value": "[parameters('x')]"}})
    made = expand(template(outer, parameters={"x": {"type": "secureString"}}), {"x": {"value": "hunter2"}}, AT_GROUP)
    inside = made.resources[0].nested(Deployed())
    (resource,) = inside.resources
    assert resource.body(Deployed())["properties"] == {"url": "postgresql://app:hunter2@server", "safe": "A"}
    assert resource.preview(Deployed())["properties"] == {"url": "[variables('url')]", "safe": "A"}
    told = json.dumps([inside.shown_parameters, made.shown_parameters, made.resources[0].body(Deployed())])
    assert "hunter2" not in told + repr(inside)


def test_a_default_value_may_use_other_parameters_and_the_time():
    declared = {
        "x": {"type": "string", "defaultValue": "[concat(parameters('y'), '-', utcNow('yyyy'))]"},
        "y": {"type": "string", "defaultValue": "[toLower(resourceGroup().name)]"},
    }
    shown = expand(template(USE, parameters=declared), {"y": {"value": None}}, AT_GROUP).shown_parameters
    assert re.fullmatch(r"app-rg-20\d\d", shown["x"]["value"])


def test_defaults_and_variables_that_need_each_other_are_refused():
    assert "Circular reference" in refusal({"type": "string", "defaultValue": "[parameters('x')]"})
    variables = {"a": "[variables('b')]", "b": "[variables('a')]"}
    made = expand(template(storage("a", properties={"x": "[variables('a')]"}), variables=variables), {}, AT_GROUP)
    with pytest.raises(TemplateError, match="Circular reference detected on template variable 'a'"):
        made.resources[0].body(Deployed())


def test_variables_are_not_expected_in_a_default_value():
    message = refusal({"type": "string", "defaultValue": "[variables('a')]"})
    assert "The template function 'variables' is not expected at this location." in message


def test_a_parameter_without_a_value_is_refused():
    assert refusal({"type": "string"}) == (
        "Deployment template validation failed: 'The value for the template parameter 'x' is not provided. Please see "
        "https://aka.ms/arm-create-parameter-file for usage details.'."
    )


def test_a_parameter_that_the_template_does_not_have_is_refused():
    with pytest.raises(TemplateError) as refused:
        expand(template(parameters={"x": {"type": "int"}}), {"x": {"value": 1}, "z": {"value": 1}}, AT_GROUP)
    assert "The template parameters 'z' in the parameters file are not valid" in refused.value.message
    assert "The only supported parameters for this template are 'x'." in refused.value.message


@pytest.mark.parametrize(
    ("kind", "value", "expected", "actual"),
    [
        ("string", 5, "String, Uri", "Integer"),
        ("secureString", ["hunter2"], "String, Uri", "Array"),
        ("int", "5", "Integer", "String"),
        ("int", True, "Integer", "Boolean"),
        ("bool", 1, "Boolean", "Integer"),
        ("array", {}, "Array", "Object"),
        ("object", [], "Object", "Array"),
    ],
)
def test_a_value_of_another_type_is_refused(kind: str, value: object, expected: str, actual: str):
    message = refusal({"type": kind}, value)
    assert f"Expected a value of type '{expected}', but received a value of type '{actual}'." in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("declaration", "good", "bad", "message"),
    [
        ({"type": "string", "allowedValues": ["a", "b"]}, "b", "c", "is not part of the allowed value(s): 'a,b'."),
        ({"type": "array", "allowedValues": ["a", "b"]}, ["b"], ["c"], "is not part of the allowed value(s): 'a,b'."),
        ({"type": "int", "minValue": 2}, 2, 1, "The value should be greater than or equal to '2'."),
        ({"type": "int", "maxValue": 2}, 2, 3, "The value should be less than or equal to '2'."),
        ({"type": "string", "minLength": 2}, "ab", "a", "Length of the value should be greater than or equal to '2'."),
        ({"type": "string", "maxLength": 2}, "ab", "abc", "Length of the value should be less than or equal to '2'."),
        ({"type": "array", "maxLength": 1}, [1], [1, 2], "Length of the value should be less than or equal to '1'."),
        ({"type": "secureString", "minLength": 9}, "longenough", "hunter2", "greater than or equal to '9'."),
        ({"type": "secureString", "allowedValues": ["a"]}, "a", "hunter2", "is not part of the allowed value(s)"),
    ],
)
def test_a_value_beyond_what_is_allowed_is_refused(declaration: dict[str, Any], good: Any, bad: Any, message: str):
    expanded(declaration, good)
    told = refusal(declaration, bad)
    assert message in told
    assert "hunter2" not in told


def test_a_reference_to_a_vault_and_types_of_ones_own_are_named_as_not_done_here():
    made = template(parameters={"x": {"type": "string"}})
    with pytest.raises(UnsupportedError, match="Key Vault"):
        expand(made, {"x": {"reference": {"keyVault": {"id": "/v"}, "secretName": "s"}}}, AT_GROUP)
    with pytest.raises(UnsupportedError, match=re.escape("$ref")):
        expand(template(parameters={"x": {"$ref": "#/definitions/mine"}}), {"x": {"value": 1}}, AT_GROUP)
    with pytest.raises(UnsupportedError, match="'nullable' of a parameter"):
        expanded({"type": "string", "nullable": True})


def test_a_type_that_there_is_not_is_refused():
    assert "The type 'text' is not valid." in refusal({"type": "text"}, "a")
