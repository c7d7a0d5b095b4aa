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

check_key_vault() {
    local vault=(--vault-name fundrbolt-production-kv) secret=(--vault-name fundrbolt-production-kv --name cli)
    same "keyvault list" "fundrbolt-production-kv fundrbolt-legacy-kv" \
        "$("$az" keyvault list --query '[].name' --output tsv | xargs)"
    same "keyvault show" "https://fundrbolt-production-kv.vault.azure.net/" \
        "$("$az" keyvault show --name fundrbolt-production-kv --query properties.vaultUri --output tsv)"
    "$az" keyvault secret set "${secret[@]}" --value one --output none
    same "keyvault secret set" "two" "$("$az" keyvault secret set "${secret[@]}" --value two --query value --output tsv)"
    same "keyvault secret show" "two" "$("$az" keyvault secret show "${secret[@]}" --query value --output tsv)"
    same "keyvault secret list-versions" "2" \
        "$("$az" keyvault secret list-versions "${secret[@]}" --query 'length(@)' --output tsv)"
    "$az" keyvault secret delete "${secret[@]}" --output none 2>"$folder/soft-delete"
    same "keyvault secret list-deleted" "cli" \
        "$("$az" keyvault secret list-deleted "${vault[@]}" --query '[].name' --output tsv)"
    if "$az" keyvault secret set "${secret[@]}" --value three --output none 2>"$folder/taken"; then
        echo "the name of a soft-deleted secret was used again" >&2
        exit 1
    fi
    same "a soft-deleted secret's name" "ObjectIsDeletedButRecoverable" \
        "$(grep -o ObjectIsDeletedButRecoverable "$folder/taken" | head -n 1)"
    same "keyvault secret recover" "cli" "$("$az" keyvault secret recover "${secret[@]}" --query name --output tsv)"
    same "keyvault set-policy" "get list" "$("$az" keyvault set-policy --name fundrbolt-legacy-kv \
        --object-id 66666666-6666-4666-8666-000000000004 --secret-permissions get list \
        --query 'properties.accessPolicies[-1].permissions.secrets' --output tsv | xargs)"
    same "references refreshed through az rest" "Resolved Resolved" "$("$az" rest --method post --url \
        "/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/fundrbolt-production-rg/providers/Microsoft.Web/sites/fundrbolt-production-api/config/configreferences/appsettings/refresh?api-version=2022-03-01" \
        --query 'value[].properties.status' --output tsv | xargs)"
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
check_key_vault
echo "the Azure CLI works on the sandbox as on Azure"
