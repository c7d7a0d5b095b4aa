"""Azure's role-based access control: an action is allowed if the role has it and does not take it away again."""

import re

from sandbox.state import Role


def allows(role: Role, action: str) -> bool:
    """Whether `role` permits `action`. `*` stands for any characters, names have no case, notActions win."""
    granted = any(_matches(pattern, action) for pattern in role.actions)
    return granted and not any(_matches(pattern, action) for pattern in role.not_actions)


def _matches(pattern: str, action: str) -> bool:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(expression, action, re.IGNORECASE) is not None
