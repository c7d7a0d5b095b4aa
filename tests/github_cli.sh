#!/usr/bin/env bash
# The genuine GitHub CLI against a sandbox of its own: every command that the runbook needs. Status 0: all as on GitHub.
#
#   tests/github_cli.sh                  GH=/path/to/gh, or `gh` on PATH (2.23 or newer); without a CLI: status 2
#   tests/github_cli.sh --if-present     without a CLI: says so, status 0
set -euo pipefail
cd "$(dirname "$0")/.."

gh="${GH:-$(command -v gh || true)}"
if [[ -z "$gh" || ! -x "$gh" ]]; then
    echo "no GitHub CLI: nothing was run (set GH or put gh on PATH)" >&2
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
        printf 'not as on GitHub: %s\n  expected: %s\n  got:      %s\n' "$1" "$2" "$3" >&2
        exit 1
    fi
    printf 'ok  %s\n' "$1"
}

refused() { # WHAT WORDS COMMAND...
    local what="$1" words="$2"
    shift 2
    if "$@" >"$folder/refused" 2>&1; then
        echo "was not refused: $what" >&2
        exit 1
    fi
    same "$what" "$words" "$(grep -oF "$words" "$folder/refused" | head -n 1)"
}

token() { # out of the vault, as whoever may read it there
    "$python" -c '
from azure.identity import EnvironmentCredential
from azure.keyvault.secrets import SecretClient

vault = SecretClient("https://fundrbolt-production-kv.vault.azure.net", EnvironmentCredential())
print(vault.get_secret("github-token").value)'
}

until_run() { # RUN STATUS
    local waited=0
    until [[ "$("$gh" run view "$1" --json status --jq .status)" == "$2" ]]; do
        ((++waited < 100)) || { echo "run $1 was never $2" >&2; exit 1; }
        sleep 0.1
    done
}

version() { "$python" -m sandbox status --json | "$python" -c '
import json, sys
sites = json.load(sys.stdin)["static_sites"]
print(*(sites[f"fundrbolt-production-{each}"]["version"] for each in ("web", "admin")))'; }

check_releases() {
    same "release list" "v1.2.3 v1.2.2 v1.2.1" "$("$gh" release list | cut -f 3 | xargs)"
    same "release list: the latest" "v1.2.3" "$("$gh" release list | grep Latest | cut -f 3)"
    same "release view" "v1.2.2 frontend-web.zip frontend-admin.zip release.toml" \
        "$("$gh" release view v1.2.2 --json tagName,assets --jq '[.tagName, .assets[].name] | join(" ")')"
    same "release view, for people" "v1.2.2" "$("$gh" release view v1.2.2 | sed -n 's/^tag:\t//p')"
    "$gh" release download v1.2.2 --dir "$folder/assets"
    same "release download" "frontend-admin.zip frontend-web.zip release.toml" "$(ls -x "$folder/assets" | xargs)"
    local digest
    digest="$("$gh" api "repos/$GH_REPO/releases/tags/v1.2.2" --jq '.assets[] | select(.name == "frontend-web.zip").digest')"
    same "an asset's digest" "$digest" "sha256:$(sha256sum <"$folder/assets/frontend-web.zip" | cut -d ' ' -f 1)"
    refused "a release that is not there" "release not found" "$gh" release view v9
}

check_api() {
    "$gh" api user --include >"$folder/user"
    same "api user" "fundrbolt-operator" "$(tail -n 1 "$folder/user" | "$python" -c 'import json, sys; print(json.load(sys.stdin)["login"])')"
    same "api --include" "200" "$(head -n 1 "$folder/user" | cut -d ' ' -f 2)"
    same "api --include: the rate limit" "5000" "$(sed -n 's/\r$//; s/^X-Ratelimit-Limit: //Ip' "$folder/user")"
    same "api --paginate" "v1.2.3 v1.2.2 v1.2.1" \
        "$("$gh" api "repos/$GH_REPO/releases?per_page=1" --paginate --jq '.[].tag_name' | xargs)"
    same "api, a commit" "$(git -C "$SANDBOX_STATE/platform.git" rev-parse 'v1.2.2^{commit}')" \
        "$("$gh" api "repos/$GH_REPO/commits/v1.2.2" --jq .sha)"
    same "api, container tags" "v1.2.3 v1.2.2 v1.2.1" "$("$gh" api \
        orgs/fundrbolt/packages/container/fundrbolt-api/versions --jq '.[].metadata.container.tags[]' | xargs)"
    same "api graphql" "fundrbolt-operator" "$("$gh" api graphql -f query='{viewer{login}}' --jq .data.viewer.login)"
    refused "api, what is not there" "Not Found (HTTP 404)" "$gh" api repos/fundrbolt/nosuch
    GH_TOKEN=wrong refused "a wrong token" "Bad credentials (HTTP 401)" "$gh" api user
}

check_runs() {
    same "workflow list" "CI Deploy frontend" "$("$gh" workflow list | cut -f 1 | xargs)"
    same "run list" "success success success failure" \
        "$("$gh" run list --workflow deploy-frontend.yml --json conclusion --jq '.[].conclusion' | xargs)"
    same "run list --branch" "2" "$("$gh" run list --branch v1.2.2 | wc -l)"
    local failed run
    failed="$("$gh" run list --json databaseId,conclusion --jq '.[] | select(.conclusion == "failure").databaseId')"
    same "run view --log-failed" "##[error]Process completed with exit code 1." \
        "$("$gh" run view "$failed" --log-failed | tail -n 1 | sed 's/.*Z //')"
    run="$("$gh" run list --workflow deploy-frontend.yml --branch v1.2.2 --json databaseId --jq '.[0].databaseId')"
    same "run view" "build success deploy success" \
        "$("$gh" run view "$run" --json jobs --jq '[.jobs[] | .name, .conclusion] | join(" ")')"
    same "run view, for people" "2" "$("$gh" run view "$run" | grep -c '^✓ \(build\|deploy\) in')"
    same "run view --log" "build deploy" "$("$gh" run view "$run" --log | cut -f 1 | uniq | xargs)"
    check_rerun "$run"
}

check_rerun() { # RUN
    same "before the re-run" "v1.2.3 v1.2.3" "$(version)"
    "$gh" run rerun "$1"
    until_run "$1" waiting
    refused "a re-run of what runs" "cannot be rerun" "$gh" run rerun "$1"
    local environment
    environment="$("$gh" api "repos/$GH_REPO/actions/runs/$1/pending_deployments" --jq '.[].environment.id')"
    "$gh" api "repos/$GH_REPO/actions/runs/$1/pending_deployments" --silent \
        -F "environment_ids[]=$environment" -f state=approved -f comment="from the shell"
    "$gh" run watch "$1" --interval 1 --exit-status >"$folder/watch"
    same "run rerun" "v1.2.2 v1.2.2" "$(version)"
    same "the review" "from the shell" "$("$gh" api "repos/$GH_REPO/actions/runs/$1/approvals" --jq '.[].comment')"
}

check_dispatch() {
    "$gh" workflow run deploy-frontend.yml --ref v1.2.1 --field frontend=web
    local run
    run="$("$gh" run list --json databaseId,event --jq '[.[] | select(.event == "workflow_dispatch")][0].databaseId')"
    until_run "$run" waiting
    "$gh" run cancel "$run" >"$folder/cancel"
    until_run "$run" completed
    same "workflow run, run cancel" "cancelled" "$("$gh" run view "$run" --json conclusion --jq .conclusion)"
    refused "a workflow that cannot be started" "Workflow does not have 'workflow_dispatch' trigger" \
        "$gh" workflow run ci.yml
}

check_issues() {
    same "issue create" "https://github.com/$GH_REPO/issues/1" \
        "$("$gh" issue create --title "Rolled back" --body "by the shell" --label rollback 2>"$folder/issue" || cat "$folder/issue" >&2)"
    same "issue list" "1 Rolled back rollback" \
        "$("$gh" issue list --json number,title,labels --jq '.[] | "\(.number) \(.title) \(.labels[0].name)"')"
    same "issue list, for people" "Rolled back" "$("$gh" issue list | cut -f 3)"
    same "issue comment" "1" "$("$gh" api "repos/$GH_REPO/issues/1/comments" -f body=done --jq .id | wc -l)"
}

"$python" -m sandbox up --detach
exports="$("$python" -m sandbox env)"
eval "$exports"
GH_TOKEN="$(token)"
export GH_TOKEN GH_REPO=fundrbolt/fundrbolt GH_CONFIG_DIR="$folder/gh" XDG_CACHE_HOME="$folder/cache"
export GH_PROMPT_DISABLED=1 GH_NO_UPDATE_NOTIFIER=1 NO_COLOR=1 TMPDIR="$folder"

check_releases
check_api
check_runs
check_dispatch
check_issues
echo "the GitHub CLI works on the sandbox as on GitHub"
