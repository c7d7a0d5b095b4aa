#!/bin/sh
# Build a frontend and put it on its site: frontend/deploy.sh web|admin
# SWA_CLI_APP_NAME is the site, SWA_CLI_DEPLOYMENT_TOKEN its deployment token. Status 0: it is served.
set -eu
frontend="${1:?which frontend: web or admin}"
here="$(cd "$(dirname "$0")" && pwd)"
archive="$(mktemp)"
trap 'rm -f "$archive"' EXIT
echo "building $frontend"
python3 "$here/build.py" "$frontend" "$archive"
python3 "$here/upload.py" "$archive"
