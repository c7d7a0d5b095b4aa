"""GitHub's host names, and the repository's names and ids."""

from base64 import urlsafe_b64encode

HOST = "api.github.com"
WEB_HOST = "github.com"
ASSETS_HOST = "release-assets.githubusercontent.com"
RESULTS_HOST = "productionresultssa0.blob.core.windows.net"
"""Azure's blob storage: here GitHub keeps the logs of its actions."""
HOSTS = (HOST, WEB_HOST, ASSETS_HOST, RESULTS_HOST)

API = f"https://{HOST}"
WEB = f"https://{WEB_HOST}"
ORGANISATION = "fundrbolt"
ORGANISATION_ID = 98_765_432
NAME = "fundrbolt"
FULL_NAME = f"{ORGANISATION}/{NAME}"
REPOSITORY_ID = 684_213_907
URL = f"{API}/repos/{FULL_NAME}"
HTML = f"{WEB}/{FULL_NAME}"


def node_id(kind: str, *numbers: int) -> str:
    """A global identifier as GitHub makes them: a prefix for the kind, then what only GitHub reads."""
    packed = b"".join(number.to_bytes(8, "big") for number in numbers)
    return f"{kind}_{urlsafe_b64encode(packed).decode().rstrip('=')}"
