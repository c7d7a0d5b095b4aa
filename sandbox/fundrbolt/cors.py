"""Which frontends may read the API from a browser."""

from collections.abc import Mapping

PUBLIC_FRONTEND = "www.fundrbolt.com"
HOSTS = (
    "fundrbolt-production-web.azurestaticapps.net",
    "fundrbolt-production-admin.azurestaticapps.net",
    "fundrbolt-staging-web.azurestaticapps.net",
    PUBLIC_FRONTEND,
)
ORIGINS = frozenset(f"https://{host}" for host in HOSTS)


def headers_for(origin: str | None) -> Mapping[str, str]:
    """What an answer to a page of `origin` says about who may read it; caches keep one for each origin."""
    allowed = {"Access-Control-Allow-Origin": origin} if origin is not None and origin in ORIGINS else {}
    return {"Vary": "Origin", **allowed}
