"""What the Prefect server of a local platform wants with each request: its login, and a token against forged ones."""

import base64

import httpx

from deployments.local_platform import LocalPlatform

CLIENT = "tests"


def prefect_headers(platform: LocalPlatform) -> dict[str, str]:
    """The headers of a request that may change something, as the server's UI sends them."""
    login = platform.environment["PREFECT_API_AUTH_STRING"]
    headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    answer = httpx.get(
        f"{platform.api_url}/csrf-token", params={"client": CLIENT}, headers=headers, timeout=20, trust_env=False
    )
    answer.raise_for_status()
    return headers | {"Prefect-Csrf-Token": answer.json()["token"], "Prefect-Csrf-Client": CLIENT}
