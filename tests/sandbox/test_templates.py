"""ARM templates, expanded: which resources they declare, in which order, and what is sent for each."""

import json
from typing import Any

import pytest
from templates import (
    AT_GROUP,
    AT_SUBSCRIPTION,
    GROUP,
    SUBSCRIPTION,
    Deployed,
    names,
    nested,
    storage,
    template,
    value_of,
)

from sandbox.templates.expansion import NotYetError, TemplateError, UnsupportedError, expand

SUBSCRIPTION_KIND = "2018-05-01/subscriptionDeploymentTemplate"
KIND = "Microsoft.Storage/storageAccounts"


def id_of(name: str) -> str:
    return f"{GROUP}/providers/{KIND}/{name}"


def refusal(made: dict[str, Any], scope: Any = AT_GROUP) -> TemplateError:
    with pytest.raises(TemplateError) as refused:
        expand(made, {}, scope)
    return refused.value


def test_a_resource_is_sent_without_what_only_the_deployment_reads():
    source = storage(
        "[concat('a', 'b')]",
        comments="ours",
        condition=True,
        dependsOn=[],
        metadata={},
        location="[resourceGroup().location]",
        sku={"name": "[toUpper('standard')]"},
        tags={"[concat('en', 'v')]": "x"},
    )
    (made,) = expand(template(source), {}, AT_GROUP).resources
    assert (made.id, made.type, made.name, made.api_version) == (id_of("ab"), KIND, "ab", "2023-05-01")
    assert made.body(Deployed()) == {"location": "eastus", "sku": {"name": "STANDARD"}, "tags": {"env": "x"}}


def test_what_has_a_false_condition_is_left_out_and_nobody_waits_for_it():
    off = storage("off", condition="[not(true())]")
    made = expand(template(off, storage("on", dependsOn=[f"{KIND}/off"])), {}, AT_GROUP)
    assert [(each.name, each.depends_on) for each in made.resources] == [("on", ())]


@pytest.mark.parametrize(
    "entry",
    ["first", f"{KIND}/first", f"[resourceId('{KIND}', 'first')]", "FIRST", "[concat('fi', 'rst')]"],
)
def test_a_dependency_is_found_by_name_type_and_name_or_id(entry: str):
    made = expand(template(storage("second", dependsOn=[entry]), storage("first")), {}, AT_GROUP)
    assert names(made) == ["first", "second"]
    assert made.resources[1].depends_on == (id_of("first"),)


@pytest.mark.parametrize(
    "expression",
    [
        "[reference('first').a]",
        f"[reference(resourceId('{KIND}', 'first'), '2023-05-01').a]",
        "[listKeys('first', '2023-05-01').keys[0].value]",
        "[concat('x', if(true(), reference('first').a, reference('third').a))]",
    ],
)
def test_what_an_expression_refers_to_is_deployed_before(expression: str):
    first, third = storage("first"), storage("third", dependsOn=["second"])
    made = expand(template(storage("second", properties={"a": expression}), third, first), {}, AT_GROUP)
    assert names(made) == ["first", "second", "third"]
    assert made.resources[1].depends_on == (id_of("first"),)


def test_resources_that_wait_for_each_other_are_refused():
    refused = refusal(template(storage("a", dependsOn=["b"]), storage("b", properties={"x": "[reference('a').y]"})))
    assert refused.code == "InvalidTemplate"
    assert refused.message.startswith(
        "Deployment template validation failed: 'Circular dependency detected on resource: "
    )
    assert id_of("a") in refused.message or id_of("b") in refused.message


def test_a_dependency_that_the_template_does_not_have_is_refused():
    refused = refusal(template(storage("a", dependsOn=[f"[resourceId('{KIND}', 'b')]"])))
    assert refused.message == (
        f"Deployment template validation failed: 'The resource '{KIND}/b' is not defined in the template. "
        "Please see https://aka.ms/arm-syntax for usage details.'."
    )


def test_a_resource_that_is_there_twice_is_refused():
    refused = refusal(template(storage("a"), storage("A")))
    assert f"The resource '{KIND}/A' is defined multiple times in a template." in refused.message


@pytest.mark.parametrize(("kind", "name"), [(KIND, "a/b"), (f"{KIND}/blobServices", "a"), (KIND, "a/")])
def test_a_name_with_other_segments_than_its_type_is_refused(kind: str, name: str):
    refused = refusal(template({**storage(name), "type": kind}))
    assert f"The template resource '{name}' for type '{kind}' has incorrect segment lengths." in refused.message


@pytest.mark.parametrize("missing", ["type", "name", "apiVersion"])
def test_a_resource_without_its_type_name_or_version_is_refused(missing: str):
    source = {key: value for key, value in storage("a").items() if key != missing}
    refused = refusal(template(source))
    assert refused.code == "InvalidRequestContent"
    assert (
        f"Required property '{missing}' not found in JSON. Path 'properties.template.resources[0]'" in refused.message
    )


def test_children_are_found_inside_their_parent_and_beside_it():
    inside = {"type": "blobServices", "apiVersion": "2023-05-01", "name": "default", "dependsOn": ["a"]}
    beside = {**storage("a/default"), "type": f"{KIND}/fileServices", "dependsOn": [f"[resourceId('{KIND}', 'a')]"]}
    made = expand(template(beside, storage("a", resources=[inside])), {}, AT_GROUP)
    assert {each.id.removeprefix(f"{id_of('a')}/") for each in made.resources[1:]} == {
        "blobServices/default",
        "fileServices/default",
    }
    assert {each.depends_on for each in made.resources[1:]} == {(id_of("a"),)}


def test_a_lock_is_on_the_resource_that_its_scope_names():
    lock = {"type": "Microsoft.Authorization/locks", "apiVersion": "2020-05-01", "name": "keep"}
    resources = [
        {**lock, "scope": f"[format('{KIND}/{{0}}', 'a')]", "dependsOn": ["a"]},
        {**lock, "name": "absolute", "scope": f"[resourceId('{KIND}', 'a')]"},
        {**lock, "type": f"{KIND}/providers/locks", "name": "a/Microsoft.Authorization/old"},
        lock,
        storage("a"),
    ]
    made = expand(template(*resources), {}, AT_GROUP)
    locks = "providers/Microsoft.Authorization/locks"
    assert {each.id for each in made.resources} == {
        id_of("a"),
        f"{id_of('a')}/{locks}/keep",
        f"{id_of('a')}/{locks}/absolute",
        f"{id_of('a')}/{locks}/old",
        f"{GROUP}/{locks}/keep",
    }


def test_a_loop_declares_its_resource_once_a_round():
    loop = {"name": "all", "count": "[length(variables('sites'))]"}
    source = storage("[variables('sites')[copyIndex()]]", copy=loop, properties={"n": "[copyIndex('all', 1)]"})
    after = storage("after", dependsOn=["all"])
    made = expand(template(after, source, variables={"sites": ["a", "b"]}), {}, AT_GROUP)
    assert names(made) == ["a", "b", "after"]
    assert [each.body(Deployed())["properties"]["n"] for each in made.resources[:2]] == [1, 2]
    assert made.resources[2].depends_on == (id_of("a"), id_of("b"))


def test_a_serial_loop_goes_batch_by_batch():
    loop = {"name": "all", "count": 5, "mode": "serial", "batchSize": 2}
    made = expand(template(storage("[format('s{0}', copyIndex())]", copy=loop)), {}, AT_GROUP)
    assert {each.name: [found.rpartition("/")[2] for found in each.depends_on] for each in made.resources} == {
        "s0": [],
        "s1": [],
        "s2": ["s0", "s1"],
        "s3": ["s0", "s1"],
        "s4": ["s2", "s3"],
    }


@pytest.mark.parametrize("count", [-1, 801, "[string('2')]"])
def test_a_loop_with_an_impossible_count_is_refused(count: object):
    refused = refusal(template(storage("[concat('a', copyIndex())]", copy={"name": "all", "count": count})))
    assert "The copy count must be an integer between 0 and 800." in refused.message


@pytest.mark.parametrize(
    "source",
    [
        storage("a", copy={"name": "all"}),
        storage("a", copy="all"),
        storage("a", properties={"copy": [{"name": "ports", "count": 2}]}),
        storage("a", properties={"copy": ["ports"]}),
    ],
)
def test_a_loop_without_all_of_its_parts_is_refused(source: dict[str, Any]):
    assert "The copy definition must have the properties 'name, count" in refusal(template(source)).message


def test_properties_variables_and_outputs_are_looped_over_too():
    ports = {"copy": [{"name": "ports", "count": 2, "input": {"port": "[add(80, copyIndex('ports'))]"}}]}
    assert value_of(ports) == {"ports": [{"port": 80}, {"port": 81}]}
    loops: dict[str, Any] = {
        "copy": [{"name": "names", "count": 2, "input": "[format('n{0}', copyIndex('names'))]"}],
        "disks": {"copy": [{"name": "sizes", "count": 2, "input": "[copyIndex('sizes', 5)]"}]},
    }
    assert value_of("[concat(variables('names'), variables('disks').sizes)]", variables=loops) == ["n0", "n1", 5, 6]
    outputs = {"all": {"type": "array", "copy": {"count": 2, "input": "[copyIndex()]"}}}
    made = expand(template(outputs=outputs), {}, AT_GROUP)
    assert made.outputs(Deployed()) == {"all": {"type": "Array", "value": [0, 1]}}


def test_run_time_functions_ask_the_reader_for_the_resource_by_its_id():
    properties = {
        "own": "[reference('first').url]",
        "full": "[reference('first', '2024-01-01', 'Full').location]",
        "other": f"[reference('{KIND}/other', '2022-01-01').url]",
        "key": f"[listKeys(resourceId('{KIND}', 'first'), '2023-05-01').keys[1].value]",
    }
    resources = expand(template(storage("first"), storage("second", properties=properties)), {}, AT_GROUP).resources
    reader = Deployed(
        first={"location": "eastus", "properties": {"url": "https://first"}},
        other={"properties": {"url": "https://other"}},
    )
    assert resources[1].body(reader)["properties"] == {
        "own": "https://first",
        "full": "eastus",
        "other": "https://other",
        "key": "second key",
    }
    assert reader.asked == [
        (id_of("first"), "2023-05-01", False),
        (id_of("first"), "2024-01-01", True),
        (id_of("other"), "2022-01-01", False),
        ("listKeys", id_of("first"), "2023-05-01"),
    ]


def test_a_preview_leaves_what_cannot_be_told_yet_as_it_is_written():
    properties = {"url": "[reference('first').url]", "name": "[concat('a', 'b')]"}
    made = expand(template(storage("first"), storage("second", properties=properties)), {}, AT_GROUP).resources[1]
    assert made.preview(Deployed())["properties"] == {"url": "[reference('first').url]", "name": "ab"}
    assert made.preview(Deployed(first={"properties": {"url": "u"}}))["properties"]["url"] == "u"
    with pytest.raises(NotYetError):
        made.body(Deployed())


def test_run_time_functions_are_refused_where_nothing_is_deployed_yet():
    for source in (storage("[reference('x').y]"), storage("a", condition="[bool(reference('x').y)]")):
        assert (
            "The template function 'reference' is not expected at this location." in refusal(template(source)).message
        )


def test_a_property_that_is_not_there_fails_when_the_resources_turn_has_come():
    sources = storage("first"), storage("second", properties={"x": "[reference('first').missing]"})
    made = expand(template(*sources), {}, AT_GROUP).resources[1]
    with pytest.raises(TemplateError) as refused:
        made.body(Deployed(first={"properties": {"url": "u"}}))
    assert refused.value.message == (
        f"Unable to process template language expressions for resource '{id_of('second')}'. 'The language expression "
        "property 'missing' doesn't exist, available properties are 'url'.'"
    )


def test_outputs_show_their_values_but_no_secret_ones():
    outputs = {
        "url": {"type": "string", "value": "[reference('first').url]"},
        "key": {"type": "securestring", "value": "[listKeys('first', '2023-05-01').keys[0].value]"},
        "off": {"type": "string", "condition": "[false()]", "value": "x"},
    }
    made = expand(template(storage("first"), outputs=outputs), {}, AT_GROUP)
    reader = Deployed(first={"properties": {"url": "u"}})
    assert made.outputs(reader) == {"url": {"type": "String", "value": "u"}, "key": {"type": "SecureString"}}


def test_an_output_that_fails_is_named():
    outputs = {"url": {"type": "string", "value": "[resourceGroup().nothing]"}}
    with pytest.raises(TemplateError, match="The template output 'url' is not valid") as refused:
        expand(template(outputs=outputs), {}, AT_GROUP).outputs(Deployed())
    assert refused.value.code == "DeploymentOutputEvaluationFailed"


def test_resources_with_keys_refer_to_each_other_by_them():
    resources = {
        "app": storage("a", dependsOn=["plans", "there"], properties={"x": "[reference('plans[1]').n]"}),
        "plans": storage("[format('p{0}', copyIndex())]", copy={"name": "loop", "count": 2}),
        "there": storage("known", existing=True),
        "uses": storage("b", properties={"x": "[reference('there', '2024-01-01', 'full').location]"}),
    }
    made = expand({**template(languageVersion="2.0"), "resources": resources}, {}, AT_GROUP)
    by_name = {each.name: each for each in made.resources}
    assert set(by_name) == {"a", "b", "p0", "p1"}
    assert by_name["a"].depends_on == (id_of("p0"), id_of("p1"))
    reader = Deployed(p1={"properties": {"n": 1}}, known={"location": "eastus", "properties": {}})
    assert by_name["a"].body(reader)["properties"] == {"x": 1}
    assert by_name["b"].body(reader)["properties"] == {"x": "eastus"}


def test_a_subscriptions_template_declares_groups_and_deploys_into_them():
    group = {
        "type": "Microsoft.Resources/resourceGroups",
        "apiVersion": "2024-03-01",
        "name": "other-rg",
        "location": "x",
    }
    inner = template(
        storage("[parameters('name')]", location="[resourceGroup().location]"),
        parameters={"name": {"type": "string"}},
        outputs={"id": {"type": "string", "value": f"[resourceId('{KIND}', parameters('name'))]"}},
    )
    into = nested(
        "inside",
        inner,
        resourceGroup="other-rg",
        parameters={"name": {"value": "[concat(deployment().name, deployment().location)]"}},
        dependsOn=["[subscriptionResourceId('Microsoft.Resources/resourceGroups', 'other-rg')]"],
    )
    made = expand(template(into, group, kind=SUBSCRIPTION_KIND), {}, AT_SUBSCRIPTION)
    other = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/other-rg"
    assert [each.id for each in made.resources] == [other, f"{other}/providers/Microsoft.Resources/deployments/inside"]
    assert made.resources[1].depends_on == (other,)
    inside = made.resources[1].nested(Deployed())
    (account,) = inside.resources
    assert account.id == f"{other}/providers/{KIND}/platformeastus"
    assert (account.scope.group, account.scope.deployment) == ("other-rg", "inside")
    assert account.body(Deployed()) == {"location": "westus"}
    assert inside.outputs(Deployed()) == {"id": {"type": "String", "value": account.id}}


def test_a_nested_deployments_body_has_neither_template_nor_parameters():
    deployment = nested("inside", template(), parameters={})
    (made,) = expand(template(deployment), {}, AT_GROUP).resources
    properties = {"mode": "Incremental", "expressionEvaluationOptions": {"scope": "inner"}}
    assert made.body(Deployed()) == {"properties": properties}


def test_with_outer_scope_expressions_are_those_of_the_template_around():
    inner = template(
        storage("[format('{0}{1}', variables('name'), copyIndex())]", tags={"in": "[resourceGroup().name]"})
    )
    loop = {"name": "all", "count": 2}
    deployment = nested("[format('d{0}', copyIndex())]", inner, scope="outer", resourceGroup="other-rg", copy=loop)
    made = expand(template(deployment, variables={"name": "outer"}), {}, AT_GROUP)
    (account,) = made.resources[1].nested(Deployed()).resources
    assert account.id == f"/subscriptions/{SUBSCRIPTION}/resourceGroups/other-rg/providers/{KIND}/outer1"
    assert account.body(Deployed()) == {"tags": {"in": "app-rg"}}


def test_a_nested_deployment_waits_for_what_its_parameters_refer_to():
    inner = template(parameters={"url": {"type": "string"}})
    deployment = nested("inside", inner, parameters={"url": {"value": "[reference('first').url]"}})
    made = expand(template(deployment, storage("first")), {}, AT_GROUP)
    assert names(made) == ["first", "inside"]
    with pytest.raises(NotYetError):
        made.resources[1].nested(Deployed())
    told = made.resources[1].nested(Deployed(first={"properties": {"url": "u"}}))
    assert told.shown_parameters == {"url": {"type": "String", "value": "u"}}


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (template(nested("a", template(), properties={"templateLink": {"uri": "https://x"}})), "templateLink"),
        (template({**nested("a", template()), "scope": "/"}), "'scope' of a nested deployment"),
        (template(functions=[{"namespace": "x"}]), "'functions' of a template"),
        (template(definitions={"x": {}}), "'definitions' of a template"),
    ],
)
def test_what_is_not_done_here_is_named(made: dict[str, Any], name: str):
    with pytest.raises(UnsupportedError, match=name):
        expand(made, {}, AT_GROUP)


def test_a_template_for_another_scope_is_refused():
    assert "is not supported at this scope" in refusal(template(kind=SUBSCRIPTION_KIND)).message
    assert "is not supported at this scope" in refusal(template(), AT_SUBSCRIPTION).message
    assert (
        "'resourceGroup' is not expected"
        in refusal(template(storage("[resourceGroup().name]"), kind=SUBSCRIPTION_KIND), AT_SUBSCRIPTION).message
    )


@pytest.mark.parametrize("missing", ["$schema", "contentVersion", "resources"])
def test_a_template_without_its_frame_is_refused(missing: str):
    made = {name: value for name, value in template().items() if name != missing}
    assert f"Required property '{missing}' not found in JSON." in refusal(made).message


def test_nothing_that_is_printed_of_a_resource_tells_a_secret():
    declared = {"password": {"type": "secureString"}}
    source = storage("a", properties={"password": "[parameters('password')]"})
    made = expand(template(source, parameters=declared), {"password": {"value": "hunter2"}}, AT_GROUP)
    assert "hunter2" not in repr(made)
    assert "hunter2" not in json.dumps(made.resources[0].preview(Deployed()))
    assert made.resources[0].body(Deployed())["properties"] == {"password": "hunter2"}
