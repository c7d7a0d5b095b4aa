"""Azure's rules for actions, wildcards, notActions, scopes and groups; custom roles from a file."""

import json

import pytest

from sandbox.errors import SandboxError
from sandbox.rbac import (
    READER,
    SECRETS_USER,
    allows,
    allows_data,
    find_principal,
    permissions_of,
    permits,
    read_role,
)
from sandbox.start import starting_state
from sandbox.state import RoleAssignment

SWAP = "Microsoft.Web/sites/slots/slotsswap/action"
GET_DATA = "Microsoft.KeyVault/vaults/secrets/getSecret/action"
ROOT = "/subscriptions/11111111-1111-4111-8111-111111111111"
PRODUCTION = f"{ROOT}/resourceGroups/fundrbolt-production-rg"
REHEARSAL = f"{ROOT}/resourceGroups/fundrbolt-rehearsal-rg"
DELETE = "Microsoft.DBforPostgreSQL/flexibleServers/delete"
SITE = f"{PRODUCTION}/providers/Microsoft.Web/sites/fundrbolt-production-api"
ROLE = {"Name": "Swapper", "Actions": [SWAP], "DataActions": [GET_DATA], "AssignableScopes": [ROOT]}


@pytest.mark.parametrize(
    ("actions", "not_actions", "allowed"),
    [
        (["*"], [], True),
        ([], [], False),
        ([SWAP], [], True),
        ([SWAP.upper()], [], True),
        (["*/read"], [], False),
        (["Microsoft.Web/sites/*"], [], True),
        (["Microsoft.Web/sites/*/action"], [], True),
        (["Microsoft.Web/sites/slotsswap/action"], [], False),
        (["Microsoft.Web/sites/slots/slotsswap"], [], False),
        (["*"], ["Microsoft.Web/sites/slots/*"], False),
        (["*"], ["Microsoft.Web/sites/slotsswap/action"], True),
    ],
)
def test_an_action_is_allowed_when_granted_and_not_taken_away(actions, not_actions, allowed):
    assert permits(actions, not_actions, SWAP) is allowed


@pytest.fixture
def state(tmp_path):
    return starting_state(tmp_path)


@pytest.mark.parametrize(
    ("name", "action", "scope", "allowed"),
    [
        ("rollback", SWAP, SITE, True),
        ("deployer", SWAP, SITE, True),
        ("deployer", SWAP, SITE.replace("production", "staging"), False),
        ("deployer", "Microsoft.Authorization/roleAssignments/write", SITE, False),
        ("oncall", "Microsoft.Web/sites/read", SITE.upper(), True),
        ("oncall", SWAP, SITE, False),
        ("lead", "Microsoft.Web/sites/read", SITE, True),
        ("second", "Microsoft.Web/sites/read", SITE, True),
        ("intern", "Microsoft.Web/sites/read", SITE, False),
    ],
)
def test_everybody_starts_with_the_roles_of_their_work(state, name, action, scope, allowed):
    assert allows(state, find_principal(state, name), action, scope) is allowed


def test_a_role_of_a_group_ends_with_the_membership(state):
    lead = find_principal(state, "lead")
    lead.groups = []
    assert not allows(state, lead, "Microsoft.Web/sites/read", SITE)


def test_a_scope_covers_what_is_below_it_and_not_what_only_begins_like_it(state):
    intern = find_principal(state, "intern")
    state.role_assignments.append(RoleAssignment(scope=SITE, principal_id=intern.object_id, role_id=READER))
    assert allows(state, intern, "Microsoft.Web/sites/slots/read", f"{SITE}/slots/staging")
    assert not allows(state, intern, "Microsoft.Web/sites/read", f"{SITE}-other")
    assert not allows(state, intern, "Microsoft.Web/sites/read", PRODUCTION)


def test_data_actions_are_apart_from_actions(state):
    intern, lead = find_principal(state, "intern"), find_principal(state, "lead")
    state.role_assignments.append(RoleAssignment(scope=PRODUCTION, principal_id=intern.object_id, role_id=SECRETS_USER))
    vault = f"{PRODUCTION}/providers/Microsoft.KeyVault/vaults/fundrbolt-production-kv"
    assert allows_data(state, intern, GET_DATA, vault)
    assert not allows_data(state, lead, GET_DATA, vault)
    assert not allows(state, intern, "Microsoft.KeyVault/vaults/read", vault)
    intern.denied.append(GET_DATA)
    assert not allows_data(state, intern, GET_DATA, vault)


def test_a_role_file_is_all_that_the_rollback_principal_has(tmp_path):
    file = tmp_path / "role.json"
    file.write_text(json.dumps(ROLE))
    state = starting_state(tmp_path, read_role(file))
    rollback = find_principal(state, "rollback")
    assert allows(state, rollback, SWAP, SITE)
    assert allows_data(state, rollback, GET_DATA, SITE)
    assert not allows(state, rollback, "Microsoft.Web/sites/read", SITE)
    assert permissions_of(state, rollback, ROOT) == []
    assert permissions_of(state, rollback, REHEARSAL) == []


def test_a_role_file_for_a_resource_group_adds_what_may_be_done_there(tmp_path):
    files = tmp_path / "role.json", tmp_path / "more.json"
    more = {"Name": "Deleter", "Actions": [DELETE], "AssignableScopes": [REHEARSAL]}
    for file, role in zip(files, (ROLE, more), strict=True):
        file.write_text(json.dumps(role))
    state = starting_state(tmp_path, *map(read_role, files))
    rollback = find_principal(state, "rollback")
    assert allows(state, rollback, DELETE, REHEARSAL)
    assert not allows(state, rollback, DELETE, PRODUCTION)
    assert allows(state, rollback, SWAP, SITE)
    assert not allows(state, rollback, SWAP, REHEARSAL)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "the file: Invalid JSON"), ('{"Name": "x"}', "AssignableScopes: Field required"), ("[]", "the file: ")],
)
def test_a_role_file_that_is_none_is_told_in_one_line(tmp_path, content, message):
    file = tmp_path / "role.json"
    file.write_text(content)
    with pytest.raises(SandboxError, match="is not a custom role") as told:
        read_role(file)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def test_who_is_not_in_the_directory_is_told_with_those_who_are(state):
    with pytest.raises(SandboxError, match="There is no 'nobody' in the directory; there are rollback, deployer"):
        find_principal(state, "nobody")
