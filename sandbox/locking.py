"""Management locks: they bind everybody, whatever the roles say, on their scope and on everything below it.

`ReadOnly` leaves what `Reader` may do: besides changes it refuses every POST, as Azure does, but for those that only
look. `CanNotDelete` refuses deletions.
"""

from sandbox.rbac import covers
from sandbox.state import ManagementLock, State

LOOKS = (
    "Microsoft.Resources/deployments/validate/action",
    "Microsoft.Resources/deployments/whatIf/action",
    "Microsoft.Resources/deployments/exportTemplate/action",
)
UNBOUND = "Microsoft.Authorization/locks/"


def refusal(state: State, method: str, path: str, action: str) -> str | None:
    """Why a request cannot be: Azure's words for the locks that forbid it; None where none does."""
    if method in ("GET", "HEAD") or action in LOOKS or action.startswith(UNBOUND):
        return None
    scope = path.rpartition("/")[0] if method == "POST" else path
    held = [each.scope for each in state.locks if _forbids(each, method) and covers(each.scope, scope)]
    if not held:
        return None
    told = ",".join(dict.fromkeys(f"'{each}'" for each in held))
    kind = "delete" if method == "DELETE" else "write"
    return (
        f"The scope '{scope}' cannot perform {kind} operation because following scope(s) are locked: {told}. "
        "Please remove the lock and try again."
    )


def _forbids(lock: ManagementLock, method: str) -> bool:
    return lock.level == "ReadOnly" or method == "DELETE"
