#!/usr/bin/env bash
# The genuine Azure CLI against a sandbox of its own: login, show, list, swap, restart. Status 0: all as on Azure.
#
#   tests/azure_cli.sh                  AZ=/path/to/az, or `az` on PATH; without a CLI: status 2
#   tests/azure_cli.sh --if-present     without a CLI: says so, status 0
set -euo pipefail
cd "$(dirname "$0")/.."

az="${AZ:-$(command -v az || true)}"
if [[ -z "$az" || ! -x "$az" ]]; then
    echo "no Azure CLI: nothing was run (set AZ or put az on PATH)" >&2
    [[ "${1:-}" == --if-present ]] && exit 0
    exit 2
fi

python="${PYTHON:-.venv/bin/python}"
folder="$(mktemp -d)"
export SANDBOX_STATE="$folder/state"
finish() {
    "$python" -m sandbox down || true
    rm -rf "$folder"
}
trap finish EXIT

same() { # WHAT EXPECTED ACTUAL
    if [[ "$2" != "$3" ]]; then
        printf 'not as on Azure: %s\n  expected: %s\n  got:      %s\n' "$1" "$2" "$3" >&2
        exit 1
    fi
    printf 'ok  %s\n' "$1"
}

"$python" -m sandbox up --detach
exports="$("$python" -m sandbox env)"
eval "$exports"

group=(--resource-group fundrbolt-production-rg --name fundrbolt-production-api)
image() { # RELEASE
    "$python" -c 'import sys; from sandbox.start import pinned; print(pinned(sys.argv[1]))' "$1"
}
served() { "$az" webapp show "${group[@]}" --query siteConfig.linuxFxVersion --output tsv; }

"$az" login --service-principal -u "$AZURE_CLIENT_ID" -p "$AZURE_CLIENT_SECRET" --tenant "$AZURE_TENANT_ID" \
    --output none
same "login" "$AZURE_SUBSCRIPTION_ID" "$("$az" account show --query id --output tsv)"
same "webapp show" "fundrbolt-production-api.azurewebsites.net" \
    "$("$az" webapp show "${group[@]}" --query defaultHostName --output tsv)"
same "production before" "$(image v1.2.3)" "$(served)"
same "deployment slot list" "staging" "$("$az" webapp deployment slot list "${group[@]}" --query '[].name' --output tsv)"
"$az" webapp deployment slot swap "${group[@]}" --slot staging --target-slot production --output none
same "production after the swap" "$(image v1.2.2)" "$(served)"
"$az" webapp restart "${group[@]}" --output none
same "restart" "Running" "$("$az" webapp show "${group[@]}" --query state --output tsv)"
same "swaps executed" "staging -> production by client" "$("$python" -m sandbox status --json | "$python" -c '
import json, sys
swaps = json.load(sys.stdin)["swaps"]
print(", ".join("{source} -> {target} by {by}".format(**swap) for swap in swaps))
')"
if "$az" webapp show --resource-group fundrbolt-production-rg --name nosuch --output none 2>"$folder/nosuch"; then
    echo "an app that is not there was shown" >&2
    exit 1
fi
same "an app that is not there" "ResourceNotFound" "$(grep -o ResourceNotFound "$folder/nosuch" | head -n 1)"
echo "the Azure CLI works on the sandbox as on Azure"
