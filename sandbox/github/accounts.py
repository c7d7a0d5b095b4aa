"""Who the token belongs to, and how much it may still ask.

Source: docs.github.com/rest: users/users#get-the-authenticated-user, rate-limit/rate-limit, meta/meta.
"""

from sandbox.github.frame import Call, Route
from sandbox.github.names import API
from sandbox.github.people import account


async def _user(call: Call) -> object:
    return account(call.user)


async def _root(_call: Call) -> object:
    return {
        "current_user_url": f"{API}/user",
        "rate_limit_url": f"{API}/rate_limit",
        "user_url": f"{API}/users/{{user}}",
    }


ROUTES = [
    Route("GET", "", _root, docs="meta/meta#github-api-root", public=True),
    Route("GET", "/user", _user, docs="users/users#get-the-authenticated-user"),
]
