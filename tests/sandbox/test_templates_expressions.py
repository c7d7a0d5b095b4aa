"""The expression language of ARM templates, as a table: what an expression comes to, and how Azure refuses one."""

import re
import uuid

import pytest
from templates import GROUP, SUBSCRIPTION, TENANT, value_of

from sandbox.templates.expansion import TemplateError, UnsupportedError

GIVEN = {
    "text": "Hello, World",
    "numbers": [3, 1, 2],
    "words": ["a", "b", "a"],
    "thing": {"Name": "x", "inner": {"list": [{"deep": 7}]}},
    "yes": True,
    "nothing": [],
}

VALUES = [
    # Texts that are no expressions, and the language itself.
    ("plain", "plain"),
    ("[[not an expression]", "[not an expression]"),
    ("[not closed", "[not closed"),
    (" [concat('a')]", " [concat('a')]"),
    ("['it''s']", "it's"),
    ("[  concat( 'a' ,\n 'b' )  ]", "ab"),
    ("[CONCAT('a', 'b')]", "ab"),
    ("[-5]", -5),
    ("[parameters('THING').name]", "x"),
    ("[parameters('thing')['inner'].list[0].deep]", 7),
    ("[parameters('numbers')[sub(length(parameters('numbers')), 1)]]", 2),
    # Texts.
    ("[concat('a', 1, 'b')]", "a1b"),
    ("[format('{0}-{1}-{0}', 'a', 2)]", "a-2-a"),
    ("[format('{{{0}}} {1:D3} {2}', 'a', 7, true())]", "{a} 007 True"),
    ("[replace('a.b.c', '.', '-')]", "a-b-c"),
    ("[toLower('ABC')]", "abc"),
    ("[toUpper('abc')]", "ABC"),
    ("[trim('  a b ')]", "a b"),
    ("[substring('abcdef', 2)]", "cdef"),
    ("[substring('abcdef', 2, 3)]", "cde"),
    ("[indexOf('abcABC', 'B')]", 1),
    ("[indexOf('abc', 'z')]", -1),
    ("[startsWith('abc', 'AB')]", True),
    ("[endsWith('abc', 'BC')]", True),
    ("[padLeft(7, 3, '0')]", "007"),
    ("[padLeft('a', 3)]", "  a"),
    ("[split('a,b;c', ',')]", ["a", "b;c"]),
    ("[split('a,b;c', createArray(',', ';'))]", ["a", "b", "c"]),
    ("[join(createArray('a', 'b'), '-')]", "a-b"),
    ("[base64('hello')]", "aGVsbG8="),
    ("[string(createObject('a', createArray(1, true(), null())))]", '{"a":[1,true,null]}'),
    ("[string(5)]", "5"),
    ("[uri('https://x.example/a/', 'b.json')]", "https://x.example/a/b.json"),
    ("[uriComponent('a b/c')]", "a%20b%2Fc"),
    ("[guid('a', 'b')]", str(uuid.uuid5(uuid.UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830"), "a-b"))),
    # Collections.
    ("[concat(parameters('numbers'), createArray(9))]", [3, 1, 2, 9]),
    ("[union(parameters('words'), createArray('c', 'b'))]", ["a", "b", "c"]),
    ('[union(json(\'{"a":{"x":1},"b":[1]}\'), json(\'{"a":{"y":2},"b":[2]}\'))]', {"a": {"x": 1, "y": 2}, "b": [2]}),
    ("[contains(parameters('thing'), 'NAME')]", True),
    ("[contains(parameters('words'), 'B')]", False),
    ("[contains('abc', 'bc')]", True),
    ("[empty(parameters('nothing'))]", True),
    ("[empty('')]", True),
    ("[length(parameters('text'))]", 12),
    ("[length(parameters('thing'))]", 2),
    ("[first(parameters('numbers'))]", 3),
    ("[last('abc')]", "c"),
    ("[take('abc', 2)]", "ab"),
    ("[take(parameters('numbers'), 9)]", [3, 1, 2]),
    ("[skip(parameters('numbers'), 1)]", [1, 2]),
    ("[array('a')]", ["a"]),
    ("[createObject('a', 1, 'b', createArray())]", {"a": 1, "b": []}),
    ("[json('{\"a\":[1,2.5,null]}')]", {"a": [1, 2.5, None]}),
    ("[coalesce(null(), parameters('text'))]", "Hello, World"),
    ("[items(createObject('b', 1, 'a', 2))]", [{"key": "a", "value": 2}, {"key": "b", "value": 1}]),
    # Numbers, comparisons and logic.
    ("[add(2, mul(3, sub(5, 1)))]", 14),
    ("[div(-7, 2)]", -3),
    ("[mod(-7, 2)]", -1),
    ("[min(parameters('numbers'))]", 1),
    ("[max(3, 9, 4)]", 9),
    ("[range(5, 3)]", [5, 6, 7]),
    ("[int('12')]", 12),
    ("[bool('True')]", True),
    ("[bool(0)]", False),
    ("[equals('a', 'A')]", False),
    ("[equals(1, true())]", False),
    ("[equals(createArray(1, 2), range(1, 2))]", True),
    ("[less(1, 2)]", True),
    ("[lessOrEquals('b', 'a')]", False),
    ("[greater('b', 'a')]", True),
    ("[greaterOrEquals(2, 2)]", True),
    ("[not(false())]", True),
    ("[and(true(), parameters('yes'), not(true()))]", False),
    ("[or(false(), parameters('yes'))]", True),
    ("[if(parameters('yes'), 'taken', parameters('numbers')[99])]", "taken"),
    # Dates.
    ("[dateTimeAdd('2026-02-28T23:00:00Z', 'PT90M')]", "2026-03-01 00:30:00Z"),
    ("[dateTimeAdd('20260228T230000Z', '-P1D', 'yyyy-MM-dd')]", "2026-02-27"),
    # Where the deployment is.
    ("[subscription().subscriptionId]", SUBSCRIPTION),
    ("[subscription().tenantId]", TENANT),
    ("[tenant().tenantId]", TENANT),
    ("[resourceGroup().id]", GROUP),
    ("[resourceGroup().location]", "eastus"),
    ("[deployment().name]", "platform"),
    ("[environment().suffixes.keyvaultDns]", ".vault.azure.net"),
    ("[resourceId('Microsoft.Web/sites', 'a')]", f"{GROUP}/providers/Microsoft.Web/sites/a"),
    ("[resourceId('Microsoft.Web/sites/slots', 'a', 'b')]", f"{GROUP}/providers/Microsoft.Web/sites/a/slots/b"),
    (
        "[resourceId('other-rg', 'Microsoft.Web/sites', 'a')]",
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/other-rg/providers/Microsoft.Web/sites/a",
    ),
    (
        f"[resourceId('{TENANT}', 'other-rg', 'Microsoft.Web/sites', 'a')]",
        f"/subscriptions/{TENANT}/resourceGroups/other-rg/providers/Microsoft.Web/sites/a",
    ),
    (
        "[subscriptionResourceId('Microsoft.Resources/resourceGroups', 'other-rg')]",
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/other-rg",
    ),
    (
        "[extensionResourceId(resourceId('Microsoft.Web/sites', 'a'), 'Microsoft.Authorization/locks', 'l')]",
        f"{GROUP}/providers/Microsoft.Web/sites/a/providers/Microsoft.Authorization/locks/l",
    ),
    (
        "[tenantResourceId('Microsoft.Authorization/roleDefinitions', 'r')]",
        "/providers/Microsoft.Authorization/roleDefinitions/r",
    ),
]


@pytest.mark.parametrize(("expression", "value"), VALUES, ids=[expression for expression, _ in VALUES])
def test_an_expression_comes_to_its_value(expression: str, value: object):
    found = value_of(expression, GIVEN)
    assert found == value
    assert type(found) is type(value)


REFUSED = [
    ("[concat('a']", "expected token 'RightParenthesis' and actual 'EndOfData'"),
    ("[concat('a'))]", "expected token 'EndOfData' and actual 'RightParenthesis'"),
    ("[concat('a' 'b')]", "expected token 'RightParenthesis' and actual 'StringLiteral'"),
    ("[parameters]", "expected token 'LeftParenthesis' and actual 'EndOfData'"),
    ("[concat(#)]", "unexpected character '#'"),
    ("[parameters('missing')]", "The template parameter 'missing' is not found."),
    ("[variables('missing')]", "The template variable 'missing' is not found."),
    ("[parameters('thing').other]", "property 'other' doesn't exist, available properties are 'Name, inner'"),
    ("[parameters('numbers')[3]]", "array index '3' is out of bounds"),
    ("[parameters('text').length]", "it is of type 'String', and 'Object' was expected"),
    ("[toLower(1)]", "'toLower' expects its parameter at position '1' to be of type 'String'"),
    ("[toLower()]", "function requires 1 argument(s) while 0 argument(s) were provided"),
    ("[substring('abc', 2, 5)]", "must refer to a location within the string"),
    ("[int('x')]", "'int' cannot convert"),
    ("[json('{')]", "'json' parameter is not valid"),
    ("[div(1, 0)]", "'div' cannot divide by zero"),
    ("[resourceId('Microsoft.Web/sites', 'a', 'b')]", "the type 'Microsoft.Web/sites' requires '1' resource name"),
    ("[utcNow()]", "The template function 'utcNow' is not expected at this location."),
    ("[copyIndex()]", "The template function 'copyIndex' is not expected at this location."),
    ("[reference('nobody').id]", "could not find template resource or resource copy with this name"),
]


@pytest.mark.parametrize(("expression", "message"), REFUSED, ids=[expression for expression, _ in REFUSED])
def test_an_expression_that_is_wrong_is_refused_in_azures_words(expression: str, message: str):
    with pytest.raises(TemplateError, match=re.escape(message)) as refused:
        value_of(expression, GIVEN)
    assert refused.value.code == "InvalidTemplate"


@pytest.mark.parametrize(
    "function", ["map", "filter", "lambda", "tryGet", "managementGroup", "base64ToString", "tryIndexFromEnd"]
)
def test_a_function_that_is_not_done_here_is_named(function: str):
    with pytest.raises(UnsupportedError, match=f"The template function '{function}'"):
        value_of(f"[if(true(), 'a', {function}('a'))]")


def test_what_a_format_cannot_do_here_is_named():
    with pytest.raises(UnsupportedError, match=re.escape("format('{0:N2}')")):
        value_of("[format('{0:N2}', 5)]")
    with pytest.raises(UnsupportedError, match="The date format 'dddd'"):
        value_of("[dateTimeAdd('2026-01-01T00:00:00Z', 'P1D', 'dddd')]")


def test_a_unique_string_is_always_the_same_thirteen_characters():
    made = value_of("[uniqueString('a', 'b')]")
    assert re.fullmatch("[a-z2-7]{13}", made)
    assert made == value_of("[uniqueString('a', 'b')]")
    assert made != value_of("[uniqueString('a', 'c')]")
