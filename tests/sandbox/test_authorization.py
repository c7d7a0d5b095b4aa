"""Roles and who has them, through the genuine SDK; names from Microsoft Graph as the Azure CLI asks for them."""

import uuid
from collections.abc import AsyncIterator

import httpx
import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.authorization.aio import AuthorizationManagementClient
from azure.mgmt.authorization.models import Permission, RoleAssignmentCreateParameters, RoleDefinition
from azure_names import GROUP, SITE, SUBSCRIPTION

from sandbox.rbac import CONTRIBUTOR, OWNER, READER

ROOT = f"/subscriptions/{SUBSCRIPTION}"
RESTART = "Microsoft.Web/sites/restart/action"
INTERN = "66666666-6666-4666-8666-000000000004"
GRAPH = "https://graph.microsoft.com/v1.0"


@pytest.fixture
async def roles(credential, environment) -> AsyncIterator[AuthorizationManagementClient]:
    ca = environment["SSL_CERT_FILE"]
    async with AuthorizationManagementClient(credential, SUBSCRIPTION, connection_verify=ca, retry_total=0) as client:
        yield client


def custom(name: str, *actions: str) -> RoleDefinition:
    permissions = [Permission(actions=list(actions), not_actions=[], data_actions=[], not_data_actions=[])]
    return RoleDefinition(role_name=name, description="", permissions=permissions, assignable_scopes=[ROOT])


async def test_built_in_roles_are_found_by_name(roles):
    [owner] = [each async for each in roles.role_definitions.list(ROOT, filter="roleName eq 'Owner'")]
    assert (owner.name, owner.role_type, owner.permissions[0].actions) == (OWNER, "BuiltInRole", ["*"])
    assert owner.id == f"{ROOT}/providers/Microsoft.Authorization/roleDefinitions/{OWNER}"
    assert (await roles.role_definitions.get_by_id(owner.id)).role_name == "Owner"
    assert [each async for each in roles.role_definitions.list(ROOT, filter="type eq 'CustomRole'")] == []
    with pytest.raises(HttpResponseError, match="is not supported"):
        [each async for each in roles.role_definitions.list(ROOT, filter="nosuch")]


async def test_a_custom_role_is_made_given_and_enforced(roles, arm, control):
    arm_token, arm.token = arm.token, control.token("intern", "https://management.azure.com/.default")
    assert (await arm.ask("POST", f"{SITE}/restart")).status_code == 403
    role = await roles.role_definitions.create_or_update(ROOT, str(uuid.uuid4()), custom("Restarter", RESTART))
    assert role.role_type == "CustomRole"
    wanted = RoleAssignmentCreateParameters(role_definition_id=role.id, principal_id=INTERN, principal_type="User")
    made = await roles.role_assignments.create(SITE, str(uuid.uuid4()), wanted)
    assert (made.scope, made.principal_type) == (SITE, "User")
    assert (await arm.ask("POST", f"{SITE}/restart")).status_code == 200
    assert (await arm.ask("GET", SITE)).status_code == 403
    with pytest.raises(ResourceExistsError, match="already exists"):
        await roles.role_assignments.create(SITE, str(uuid.uuid4()), wanted)
    with pytest.raises(HttpResponseError, match="RoleDefinitionHasAssignments"):
        await roles.role_definitions.delete(ROOT, role.name)
    await roles.role_assignments.delete_by_id(made.id)
    assert (await arm.ask("POST", f"{SITE}/restart")).status_code == 403
    arm.token = arm_token
    assert (await roles.role_definitions.delete(ROOT, role.name)).role_name == "Restarter"


async def test_a_role_that_makes_no_sense_is_refused(roles):
    await roles.role_definitions.create_or_update(ROOT, str(uuid.uuid4()), custom("Twice", RESTART))
    with pytest.raises(ResourceExistsError, match="same name"):
        await roles.role_definitions.create_or_update(ROOT, str(uuid.uuid4()), custom("Twice", RESTART))
    foreign = custom("Foreign", RESTART)
    foreign.assignable_scopes = ["/subscriptions/99999999-9999-4999-8999-999999999999"]
    with pytest.raises(HttpResponseError, match="assignable scope"):
        await roles.role_definitions.create_or_update(ROOT, str(uuid.uuid4()), foreign)
    nobody = RoleAssignmentCreateParameters(role_definition_id=f"x/{READER}", principal_id=str(uuid.uuid4()))
    with pytest.raises(HttpResponseError, match="PrincipalNotFound"):
        await roles.role_assignments.create(ROOT, str(uuid.uuid4()), nobody)
    with pytest.raises(ResourceNotFoundError, match="does not exist"):
        await roles.role_definitions.get(ROOT, str(uuid.uuid4()))


async def test_only_an_owner_gives_roles(arm, control):
    arm.token = control.token("deployer", "https://management.azure.com/.default")
    path = f"{SITE}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    answer = await arm.ask("PUT", path, json={"properties": {"roleDefinitionId": CONTRIBUTOR, "principalId": INTERN}})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "AuthorizationFailed")


@pytest.mark.parametrize(
    ("scope", "text", "expected"),
    [
        (ROOT, "", {OWNER, READER, CONTRIBUTOR}),
        (ROOT, "atScope()", {OWNER, READER}),
        (f"{ROOT}/resourceGroups/{GROUP}", "atScope()", {OWNER, READER, CONTRIBUTOR}),
        (f"{ROOT}/resourceGroups/fundrbolt-dev-rg", "", {OWNER, READER}),
        (ROOT, "principalId eq '44444444-4444-4444-8444-444444444445'", {CONTRIBUTOR}),
        (ROOT, "principalId eq '66666666-6666-4666-8666-000000000002'", set()),
        (ROOT, "assignedTo('66666666-6666-4666-8666-000000000002')", {READER}),
        (ROOT, "atScope() and assignedTo('44444444-4444-4444-8444-444444444445')", set()),
    ],
)
async def test_assignments_are_listed_by_scope_and_principal(roles, scope, text, expected):
    listed = [each async for each in roles.role_assignments.list_for_scope(scope, filter=text or None)]
    found = {each.role_definition_id.rpartition("/")[2] for each in listed}
    assert found & {OWNER, READER, CONTRIBUTOR} == expected


async def graph(https: httpx.AsyncClient, token: str, method: str, path: str, **options: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return await https.request(method, f"{GRAPH}{path}", headers=headers, **options)


async def test_the_directory_tells_names(https, control):
    token = control.token("lead", "https://graph.microsoft.com//.default")
    assert (await graph(https, token, "GET", "/me")).json()["userPrincipalName"] == "lead@fundrbolt.com"
    query = {"$filter": "userPrincipalName eq 'intern@fundrbolt.com'"}
    assert (await graph(https, token, "GET", "/users", params=query)).json()["value"][0]["id"] == INTERN
    query = {"$filter": "servicePrincipalNames/any(c:c eq '33333333-3333-4333-8333-333333333333')"}
    [app] = (await graph(https, token, "GET", "/servicePrincipals", params=query)).json()["value"]
    assert app["displayName"] == "fundrbolt-rollback"
    wanted = {"ids": [INTERN, app["id"], "nosuch"], "types": ["user"]}
    found = (await graph(https, token, "POST", "/directoryObjects/getByIds", json=wanted)).json()["value"]
    assert {each["@odata.type"] for each in found} == {"#microsoft.graph.user", "#microsoft.graph.servicePrincipal"}
    members = await graph(https, token, "GET", "/groups/55555555-5555-4555-8555-555555555555/members")
    assert [each["displayName"] for each in members.json()["value"]] == ["Lead", "Second"]


async def test_identities_of_apps_have_names_too(https, control, roles):
    token = control.token("lead", "https://graph.microsoft.com/.default")
    assigned = [each async for each in roles.role_assignments.list_for_subscription()]
    wanted = {"ids": [each.principal_id for each in assigned]}
    found = (await graph(https, token, "POST", "/directoryObjects/getByIds", json=wanted)).json()["value"]
    assert {each["id"] for each in found} == {each.principal_id for each in assigned}
    assert {each.principal_type for each in assigned} == {"User", "Group", "ServicePrincipal"}


async def test_the_directory_refuses_what_it_does_not_know(https, control):
    token = control.token("lead", "https://graph.microsoft.com/.default")
    assert (await graph(https, token, "GET", "/users/nobody")).json()["error"]["code"] == "Request_ResourceNotFound"
    assert (await graph(https, token, "GET", "/users", params={"$filter": "x"})).status_code == 400
    assert (await graph(https, token, "POST", "/directoryObjects/getByIds", content=b"{")).status_code == 400
    assert (await graph(https, token, "GET", "/applications")).status_code == 501
    foreign = control.token("lead", "https://management.azure.com/.default")
    assert (await graph(https, foreign, "GET", "/me")).status_code == 401
