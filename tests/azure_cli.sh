#!/usr/bin/env bash
# The genuine Azure CLI against a sandbox of its own: every command that the runbook needs. Status 0: all as on Azure.
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
    same "references refreshed through az rest" "Resolved Resolved Resolved" "$("$az" rest --method post --url \
        "/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/fundrbolt-production-rg/providers/Microsoft.Web/sites/fundrbolt-production-api/config/configreferences/appsettings/refresh?api-version=2022-03-01" \
        --query 'value[].properties.status' --output tsv | xargs)"
}

resource="/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/fundrbolt-production-rg/providers"
site="$resource/Microsoft.Web/sites/fundrbolt-production-api"

check_people() { # somebody signs in with a password, may read, may not restart, and gets a token for approvals
    (
        eval "$("$python" -m sandbox env --as lead)"
        "$az" login -u "$AZURE_USERNAME" -p "$AZURE_PASSWORD" --tenant "$AZURE_TENANT_ID" --output none 2>/dev/null
        same "login with a password" "lead@fundrbolt.com" "$("$az" account show --query user.name --output tsv)"
        same "account get-access-token" "Bearer" \
            "$("$az" account get-access-token --scope api://fundrbolt-rollback/.default --query tokenType --output tsv)"
        mine=(account get-access-token --scope 77777777-7777-4777-8777-777777777777/.default --query accessToken --output tsv)
        "$az" "${mine[@]}" | sha256sum >"$folder/first"
        same "the same token again" "$(cat "$folder/first")" "$("$az" "${mine[@]}" | sha256sum)"
        "$az" logout
        "$az" login -u "$AZURE_USERNAME" -p "$AZURE_PASSWORD" --tenant "$AZURE_TENANT_ID" --output none 2>/dev/null
        if [ "$("$az" "${mine[@]}" | sha256sum)" = "$(cat "$folder/first")" ]; then
            echo "logout kept the token" >&2
            exit 1
        fi
        if "$az" webapp restart "${group[@]}" --output none 2>"$folder/reader"; then
            echo "a reader restarted production" >&2
            exit 1
        fi
        same "a reader's restart" "Microsoft.Web/sites/restart/action" \
            "$(grep -o "Microsoft.Web/sites/restart/action" "$folder/reader" | head -n 1)"
        if "$az" login -u "$AZURE_USERNAME" -p wrong --tenant "$AZURE_TENANT_ID" --output none 2>"$folder/wrong"; then
            echo "a wrong password was taken" >&2
            exit 1
        fi
        same "a wrong password" "AADSTS50126" "$(grep -o AADSTS50126 "$folder/wrong" | head -n 1)"
    )
}

check_roles() {
    local role='{"Name": "Fundrbolt Looker", "IsCustom": true, "Description": "Looks", "Actions":
        ["Microsoft.Web/sites/read"], "NotActions": [], "DataActions": [], "NotDataActions": [],
        "AssignableScopes": ["/subscriptions/'"$AZURE_SUBSCRIPTION_ID"'"]}'
    same "role definition create" "Fundrbolt Looker" \
        "$("$az" role definition create --role-definition "$role" --query roleName --output tsv)"
    same "role definition list" "Fundrbolt Looker" \
        "$("$az" role definition list --custom-role-only --query '[].roleName' --output tsv)"
    same "role assignment create" "User" "$("$az" role assignment create --assignee intern@fundrbolt.com \
        --role "Fundrbolt Looker" --scope "$site" --query principalType --output tsv)"
    same "role assignment list" "intern@fundrbolt.com Fundrbolt Looker" "$("$az" role assignment list --scope "$site" \
        --query '[].[principalName, roleDefinitionName]' --output tsv | xargs)"
    same "role assignment list --assignee" "Owner" "$("$az" role assignment list --assignee "$AZURE_CLIENT_ID" \
        --query "[?roleDefinitionName == 'Owner'].roleDefinitionName" --output tsv)"
    "$az" role assignment delete --assignee intern@fundrbolt.com --scope "$site"
    "$az" role definition delete --name "Fundrbolt Looker"
    same "role definition delete" "" \
        "$("$az" role definition list --custom-role-only --query '[].roleName' --output tsv)"
}

measured() { # RESOURCE METRIC AGGREGATION JMESPATH
    "$az" monitor metrics list --resource "$1" --metrics "$2" --interval PT1M --aggregation "$3" \
        --query "$4(value[0].timeseries[0].data[].$(tr '[:upper:]' '[:lower:]' <<<"$3"))" --output tsv
}

check_metrics() {
    "$python" -m sandbox break metrics-history errors=0.25 requests=100 minutes=4
    same "monitor metrics list" "100" "$("$python" -c 'print(round(float("'"$(measured "$site" Http5xx Total sum)"'")))')"
    same "monitor metrics list of a component" "100.0" \
        "$(measured "$resource/microsoft.insights/components/fundrbolt-production-insights" requests/count Count max)"
    same "monitor metrics list-definitions" "Requests" "$("$az" monitor metrics list-definitions --resource "$site" \
        --query '[0].name.value' --output tsv)"
    if "$az" monitor metrics list --resource "$site" --metrics Nosuch --output none 2>"$folder/metric"; then
        echo "a metric that is not there was listed" >&2
        exit 1
    fi
    same "a metric that is not there" "Failed to find metric configuration" \
        "$(grep -o "Failed to find metric configuration" "$folder/metric" | head -n 1)"
}

check_resources() {
    same "resource list" "fundrbolt-dev-api fundrbolt-dev-plan" \
        "$("$az" resource list --resource-group fundrbolt-dev-rg --query '[].name' --output tsv | xargs)"
    same "resource show" "fundrbolt-production-api" "$("$az" resource show --ids "$site" --query name --output tsv)"
    same "resource tag" "v1.2.3" \
        "$("$az" resource tag --ids "$site" --tags rollback-release=v1.2.3 --query 'tags."rollback-release"' --output tsv)"
    same "tag update" "yes v1.2.3" "$("$az" tag update --resource-id "$site" --operation Merge --tags checked=yes \
        --query 'properties.tags.[checked, "rollback-release"]' --output tsv | xargs)"
    same "rest" "fundrbolt-production-api" \
        "$("$az" rest --method get --url "$site?api-version=2023-12-01" --query name --output tsv)"
}

template() { # REPOSITORY FILE OF v1.2.2, TO WHERE
    git -C "$SANDBOX_STATE/platform.git" show "v1.2.2:infrastructure/$1" >"$2"
}

check_deployments() { # the platform's template of the release before: predicted, deployed, told
    local infrastructure=fundrbolt-infrastructure secret=(--vault-name fundrbolt-production-kv --query value --output tsv)
    local values=(--name "$infrastructure" --location eastus --template-file "$folder/main.json")
    template main.json "$folder/main.json"
    template production.parameters.json "$folder/parameters.json"
    values+=(--parameters "@$folder/parameters.json"
        "administratorPassword=$("$az" keyvault secret show --name database-admin-password "${secret[@]}")"
        "appPassword=$("$az" keyvault secret show --name database-app-password "${secret[@]}")")
    same "deployment sub list" "$infrastructure" "$("$az" deployment sub list --query '[].name' --output tsv)"
    "$az" deployment sub what-if "${values[@]}" >"$folder/what-if"
    same "deployment sub what-if" 'maxmemory-policy: "volatile-lru" => "allkeys-lru"' \
        "$(grep -o 'maxmemory-policy: .*' "$folder/what-if")"
    same "deployment sub what-if without colours" "Ignore" "$("$az" deployment sub what-if "${values[@]}" --no-pretty-print \
        --query "changes[?ends_with(resourceId, 'fundrboltreceipts')].changeType" --output tsv)"
    same "deployment sub validate" "Succeeded" \
        "$("$az" deployment sub validate "${values[@]}" --query properties.provisioningState --output tsv)"
    same "deployment sub create" "Succeeded" \
        "$("$az" deployment sub create "${values[@]}" --query properties.provisioningState --output tsv)"
    same "deployment sub show" "https://fundrbolt-production-api.azurewebsites.net" "$("$az" deployment sub show \
        --name "$infrastructure" --query properties.outputs.apiUrl.value --output tsv)"
    same "deployment operation sub list" "Succeeded Succeeded" "$("$az" deployment operation sub list \
        --name "$infrastructure" --query '[].properties.provisioningState' --output tsv | xargs)"
    same "deployment group list" "fundrbolt-platform" "$("$az" deployment group list \
        --resource-group fundrbolt-production-rg --query '[].name' --output tsv)"
    same "the deployed configuration" "Disabled" \
        "$("$az" webapp config show "${group[@]}" --query ftpsState --output tsv)"
    if "$az" deployment sub create "${values[@]}" --location westus --output none 2>"$folder/region"; then
        echo "a deployment changed its region" >&2
        exit 1
    fi
    same "a deployment's region" "InvalidDeploymentLocation" \
        "$(grep -o InvalidDeploymentLocation "$folder/region" | head -n 1)"
}

check_group_deployments() { # a resource is made, changed by hand, locked and deleted
    local one=(--resource-group fundrbolt-production-rg) id="$resource/Microsoft.Storage/storageAccounts/fundrboltcli"
    cat >"$folder/group.json" <<'TEMPLATE'
{
  "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
  "contentVersion": "1.0.0.0", // people write comments
  "resources": [{
    "type": "Microsoft.Storage/storageAccounts", "apiVersion": "2023-05-01", "name": "fundrboltcli",
    "location": "[resourceGroup().location]", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2",
    "properties": {"minimumTlsVersion": "TLS1_2"}
  }]
}
TEMPLATE
    local values=("${one[@]}" --name cli --template-file "$folder/group.json")
    same "deployment group what-if" "Create" "$("$az" deployment group what-if "${values[@]}" --no-pretty-print \
        --query "changes[?resourceId == '$id'].changeType" --output tsv)"
    same "deployment group create" "Succeeded" \
        "$("$az" deployment group create "${values[@]}" --query properties.provisioningState --output tsv)"
    same "deployment operation group list" "fundrboltcli" "$("$az" deployment operation group list "${one[@]}" --name cli \
        --query '[].properties.targetResource.resourceName' --output tsv)"
    same "resource show" "TLS1_2" "$("$az" resource show --ids "$id" --query properties.minimumTlsVersion --output tsv)"
    same "resource update" "TLS1_0" "$("$az" resource update --ids "$id" --set properties.minimumTlsVersion=TLS1_0 \
        --query properties.minimumTlsVersion --output tsv)"
    same "what-if after a change by hand" "Modify" "$("$az" deployment group what-if "${values[@]}" --no-pretty-print \
        --query "changes[?resourceId == '$id'].changeType" --output tsv)"
    same "resource tag" "hand" "$("$az" resource tag --ids "$id" --tags by=hand --query tags.by --output tsv)"
    same "tag list" "hand" "$("$az" tag list --resource-id "$id" --query properties.tags.by --output tsv)"
    same "lock create" "ReadOnly" \
        "$("$az" lock create "${one[@]}" --name freeze --lock-type ReadOnly --query level --output tsv)"
    same "lock list" "freeze" "$("$az" lock list "${one[@]}" --query "[?level == 'ReadOnly'].name" --output tsv)"
    if "$az" deployment group create "${values[@]}" --output none 2>"$folder/locked"; then
        echo "a locked group was deployed to" >&2
        exit 1
    fi
    same "a locked group" "ScopeLocked" "$(grep -o ScopeLocked "$folder/locked" | head -n 1)"
    "$az" lock delete "${one[@]}" --name freeze
    "$az" resource delete --ids "$id" --output none
    "$az" deployment group delete "${one[@]}" --name cli
    same "deployment group delete" "" \
        "$("$az" deployment group list "${one[@]}" --query "[?name == 'cli'].name" --output tsv)"
}

check_static_sites() {
    local one=(--resource-group fundrbolt-production-rg --name fundrbolt-production-web) token
    same "staticwebapp list" "fundrbolt-production-web fundrbolt-production-admin fundrbolt-staging-web" \
        "$("$az" staticwebapp list --query '[].name' --output tsv | xargs)"
    same "staticwebapp list --resource-group" "fundrbolt-staging-web Free" "$("$az" staticwebapp list \
        --resource-group fundrbolt-staging-rg --query '[].[name, sku.name]' --output tsv | xargs)"
    same "staticwebapp show" "fundrbolt-production-web.azurestaticapps.net www.fundrbolt.com" "$("$az" staticwebapp show \
        --name fundrbolt-production-web --query '[defaultHostname, customDomains[0]]' --output tsv | xargs)"
    same "staticwebapp environment list" "default Ready" "$("$az" staticwebapp environment list "${one[@]}" \
        --query '[].[buildId, status]' --output tsv | xargs)"
    same "staticwebapp environment show" "fundrbolt-production-web.azurestaticapps.net" \
        "$("$az" staticwebapp environment show "${one[@]}" --query hostname --output tsv)"
    same "staticwebapp hostname list" "www.fundrbolt.com Ready" "$("$az" staticwebapp hostname list "${one[@]}" \
        --query '[].[domainName, status]' --output tsv | xargs)"
    same "staticwebapp hostname show" "Ready" "$("$az" staticwebapp hostname show "${one[@]}" \
        --hostname www.fundrbolt.com --query status --output tsv)"
    token="$("$az" staticwebapp secrets list "${one[@]}" --query properties.apiKey --output tsv)"
    same "staticwebapp secrets list" "74" "${#token}"
    sha256sum <<<"$token" >"$folder/token"
    "$az" staticwebapp secrets reset-api-key "${one[@]}" --output none
    token="$("$az" staticwebapp secrets list "${one[@]}" --query properties.apiKey --output tsv)"
    same "staticwebapp secrets reset-api-key" "another" \
        "$(sha256sum <<<"$token" | cmp --quiet - "$folder/token" && echo "the same" || echo another)"
}

check_apps() {
    local slot=("${group[@]}" --slot staging)
    same "webapp config appsettings set" "CHECKED" "$("$az" webapp config appsettings set "${slot[@]}" \
        --settings CHECKED=yes --query "[?name == 'CHECKED'].name" --output tsv)"
    same "webapp config appsettings list" "yes" \
        "$("$az" webapp config appsettings list "${slot[@]}" --query "[?name == 'CHECKED'].value" --output tsv)"
    "$az" webapp config container set "${slot[@]}" --output none \
        --container-image-name ghcr.io/fundrbolt/fundrbolt-api:v1.2.1
    same "webapp config container show" "DOCKER|ghcr.io/fundrbolt/fundrbolt-api:v1.2.1" "$("$az" webapp config container \
        show "${slot[@]}" --query "[?name == 'DOCKER_CUSTOM_IMAGE_NAME'].value" --output tsv)"
    "$az" webapp stop "${slot[@]}"
    same "webapp stop" "Stopped" "$("$az" webapp show "${slot[@]}" --query state --output tsv)"
    "$az" webapp start "${slot[@]}"
    same "webapp start" "Running" "$("$az" webapp show "${slot[@]}" --query state --output tsv)"
    "$az" webapp deployment slot swap "${slot[@]}" --action preview --output none
    same "swap --action preview" "production" "$("$az" webapp show "${slot[@]}" --query targetSwapSlot --output tsv)"
    "$az" webapp deployment slot swap "${slot[@]}" --action reset --output none
    same "swap --action reset" "" "$("$az" webapp show "${slot[@]}" --query targetSwapSlot --output tsv)"
}

check_databases() { # a server is restored beside its source, stopped, started and deleted
    local pg=(--resource-group fundrbolt-production-rg) server=fundrbolt-production-pg
    local one=("${pg[@]}" --name "$server") restored=("${pg[@]}" --name "$server-cli") geo=("${pg[@]}" --name "$server-geo")
    local parameter=("${pg[@]}" --server-name "$server" --name work_mem)
    same "postgres flexible-server list" "fundrbolt-production-pg fundrbolt-staging-pg" \
        "$("$az" postgres flexible-server list --query '[].name' --output tsv | xargs)"
    same "postgres flexible-server show" "Ready Enabled" "$("$az" postgres flexible-server show "${one[@]}" \
        --query '[state, network.publicNetworkAccess]' --output tsv | xargs)"
    same "postgres flexible-server backup list" "7" "$("$az" postgres flexible-server backup list "${pg[@]}" \
        --server-name "$server" --query 'length(@)' --output tsv)"
    same "postgres flexible-server restore" "Ready" "$("$az" postgres flexible-server restore "${restored[@]}" \
        --source-server "$server" --restore-time "$(date -u -d '-1 hour' +%Y-%m-%dT%H:%M:%SZ)" --query state --output tsv)"
    same "a restored server's firewall rules" "0" "$("$az" postgres flexible-server firewall-rule list "${pg[@]}" \
        --server-name "$server-cli" --query 'length(@)' --output tsv)"
    same "postgres flexible-server firewall-rule create" "203.0.113.10" \
        "$("$az" postgres flexible-server firewall-rule create "${pg[@]}" --server-name "$server-cli" --name operators \
            --start-ip-address 203.0.113.10 --end-ip-address 203.0.113.10 --query startIpAddress --output tsv)"
    same "postgres flexible-server parameter list" "8192" "$("$az" postgres flexible-server parameter list "${pg[@]}" \
        --server-name "$server" --query "[?name == 'work_mem'].value" --output tsv)"
    same "postgres flexible-server parameter set" "16384 user-override" "$("$az" postgres flexible-server parameter set \
        "${parameter[@]}" --value 16384 --query '[value, source]' --output tsv | xargs)"
    "$az" postgres flexible-server stop "${restored[@]}" --output none
    same "postgres flexible-server stop" "Stopped" \
        "$("$az" postgres flexible-server show "${restored[@]}" --query state --output tsv)"
    "$az" postgres flexible-server start "${restored[@]}" --output none
    same "postgres flexible-server start" "Ready" \
        "$("$az" postgres flexible-server show "${restored[@]}" --query state --output tsv)"
    same "postgres flexible-server geo-restore" "West US" "$("$az" postgres flexible-server geo-restore "${geo[@]}" \
        --source-server "$server" --location westus --query location --output tsv)"
    "$az" postgres flexible-server delete "${restored[@]}" --yes --output none
    same "postgres flexible-server delete" "fundrbolt-production-pg fundrbolt-production-pg-geo" \
        "$("$az" postgres flexible-server list "${pg[@]}" --query '[].name' --output tsv | xargs)"
}

check_caches() {
    local one=(--resource-group fundrbolt-production-rg --name fundrbolt-production-redis) key
    same "redis list" "fundrbolt-production-redis" "$("$az" redis list --query '[].name' --output tsv | xargs)"
    same "redis show" "Succeeded 6380" \
        "$("$az" redis show "${one[@]}" --query '[provisioningState, sslPort]' --output tsv | xargs)"
    key="$("$az" redis list-keys "${one[@]}" --query primaryKey --output tsv)"
    same "redis list-keys" "44" "${#key}"
    sha256sum <<<"$key" >"$folder/key"
    key="$("$az" redis regenerate-keys "${one[@]}" --key-type Primary --query primaryKey --output tsv)"
    same "redis regenerate-keys" "another" \
        "$(sha256sum <<<"$key" | cmp --quiet - "$folder/key" && echo "the same" || echo another)"
    "$az" redis flush "${one[@]}" --yes --output none
    same "redis flush" "Succeeded" "$("$az" redis show "${one[@]}" --query provisioningState --output tsv)"
}

check_log_tail() { # it never ends by itself: it is stopped when the line has come
    : >"$folder/tail"
    # Before it streams, the command asks the app for its front page, past the proxy: only that is left out.
    "$(dirname "$az")/python" -c '
import sys
import azure.cli.command_modules.appservice.custom as custom
custom.ping_site = lambda *_: None
from azure.cli.core import get_default_cli
sys.exit(get_default_cli().invoke(sys.argv[1:]))' webapp log tail "${group[@]}" >"$folder/tail" 2>&1 &
    local tail=$! waited=0
    until grep -q "is ready to serve requests" "$folder/tail" || ((++waited > 100)); do
        kill -0 "$tail" 2>/dev/null || break
        sleep 0.2
    done
    kill "$tail" 2>/dev/null || true
    wait "$tail" 2>/dev/null || true
    same "webapp log tail" "ready to serve requests" "$(grep -o "ready to serve requests" "$folder/tail" | head -n 1)"
}

through_tunnel() { # PORT COMMAND
    "$python" -c '
import asyncio, sys
import asyncssh

async def main(port, command):
    options = {"username": "root", "password": "Docker!", "known_hosts": None, "client_keys": None, "config": None}
    async with asyncssh.connect("127.0.0.1", int(port), **options) as client:
        done = await client.run(command)
        print(done.stdout.strip(), done.exit_status)

asyncio.run(main(*sys.argv[1:]))' "$@"
}

check_ssh() { # EXPECTED [--slot SLOT]: whether the container's image has the newest revision, and a command's status
    local expected="$1" command="ls /app/migrations/versions | grep -c add_tip; exit 7" waited=0 port=""
    shift
    : >"$folder/tunnel"
    "$az" webapp create-remote-connection "${group[@]}" "$@" >"$folder/tunnel" 2>&1 &
    local tunnel=$!
    until port="$(grep -oP "Opening tunnel on port: \K[0-9]+" "$folder/tunnel")" || ((++waited > 300)); do
        kill -0 "$tunnel" 2>/dev/null || break
        sleep 0.2
    done
    same "webapp create-remote-connection $*" "$expected" "$(through_tunnel "$port" "$command")"
    kill "$tunnel" 2>/dev/null || true
    wait "$tunnel" 2>/dev/null || true
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
check_people
check_roles
check_metrics
check_resources
check_databases
check_caches
check_log_tail
check_ssh "0 7"
check_ssh "1 7" --slot staging
check_static_sites
check_apps
check_group_deployments
check_deployments
echo "the Azure CLI works on the sandbox as on Azure"
