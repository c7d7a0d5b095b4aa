"""Put an archive on a site: `python3 upload.py ARCHIVE`. Site and deployment token come from the environment."""

import json
import os
import pathlib
import sys
import urllib.error
import urllib.parse
import urllib.request

URL = "https://content.infrastructure.azurestaticapps.net/deployments"
SECONDS = 600


def upload(archive: bytes, site: str, token: str) -> str:
    """Send it, and wait until it is served; returns the version that is. `OSError` if it is not."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/zip"}
    request = urllib.request.Request(f"{URL}?{urllib.parse.urlencode({'app': site})}", archive, headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
        return str(json.load(answer).get("version"))


def main(arguments: list[str]) -> int:
    """Upload, and say how it went."""
    site, token = os.environ.get("SWA_CLI_APP_NAME"), os.environ.get("SWA_CLI_DEPLOYMENT_TOKEN")
    if len(arguments) != 1 or not site or not token:
        sys.stderr.write("usage: upload.py ARCHIVE, with SWA_CLI_APP_NAME and SWA_CLI_DEPLOYMENT_TOKEN\n")
        return 2
    sys.stdout.write(f"uploading to {site}\n")
    sys.stdout.flush()
    try:
        version = upload(pathlib.Path(arguments[0]).read_bytes(), site, token)
    except urllib.error.HTTPError as error:
        told = error.read().decode("utf-8", "replace").strip()
        sys.stderr.write(f"deployment failed: {error.code} {told}\n")
        return 1
    except (OSError, ValueError) as error:
        sys.stderr.write(f"deployment failed: {error}\n")
        return 1
    sys.stdout.write(f"{site} serves {version}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
