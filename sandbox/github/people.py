"""Who is on GitHub, and how it tells of them."""

from typing import Any

from sandbox.github.names import API, ORGANISATION, ORGANISATION_ID, WEB, node_id

OPERATOR = "fundrbolt-operator"
"""Whose token it is: reads, re-runs, and approves deployments."""
DEVELOPER = "hkarlsen"
"""Who tags releases."""
BOT = "github-actions[bot]"

IDS = {ORGANISATION: ORGANISATION_ID, OPERATOR: 120_301_447, DEVELOPER: 54_210_018, BOT: 41_898_282}
NAMES = {OPERATOR: "Fundrbolt Operations", DEVELOPER: "Hanna Karlsen"}
TYPES = {ORGANISATION: "Organization", BOT: "Bot"}


def user(login: str) -> dict[str, Any]:
    """A user, an organisation or a bot, as it stands inside of other answers."""
    number = IDS[login]
    url = f"{API}/users/{login}"
    below = ("followers", "gists{/gist_id}", "starred{/owner}{/repo}", "subscriptions", "orgs", "repos")
    words = ("followers", "gists", "starred", "subscriptions", "organizations", "repos")
    return {
        "login": login,
        "id": number,
        "node_id": node_id("U" if login not in TYPES else TYPES[login][0], number),
        "avatar_url": f"https://avatars.githubusercontent.com/u/{number}?v=4",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{WEB}/{login}",
        **{f"{word}_url": f"{url}/{path}" for word, path in zip(words, below, strict=True)},
        "following_url": f"{url}/following{{/other_user}}",
        "events_url": f"{url}/events{{/privacy}}",
        "received_events_url": f"{url}/received_events",
        "type": TYPES.get(login, "User"),
        "user_view_type": "public",
        "site_admin": False,
    }


def account(login: str) -> dict[str, Any]:
    """A user as `GET /user` shows them to the holder of a fine-grained token that may read no private details."""
    return {
        **user(login),
        "name": NAMES[login],
        "company": None,
        "blog": "",
        "location": None,
        "email": None,
        "hireable": None,
        "bio": None,
        "twitter_username": None,
        "public_repos": 0,
        "public_gists": 0,
        "followers": 0,
        "following": 0,
        "created_at": "2024-02-12T09:30:11Z",
        "updated_at": "2026-01-19T14:02:45Z",
    }
