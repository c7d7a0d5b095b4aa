"""Azure's rules for actions, wildcards and notActions."""

import pytest

from sandbox.rbac import allows
from sandbox.state import Role

SWAP = "Microsoft.Web/sites/slots/slotsswap/action"


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
    assert allows(Role(actions=actions, not_actions=not_actions), SWAP) is allowed
