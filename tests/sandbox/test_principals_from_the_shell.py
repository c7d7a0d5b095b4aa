"""`env --as`, `token`, `up --role` and `up --record`, as people and scripts use them."""

import json
import os
import shlex
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest
from azure_names import SITE

ROOT = Path(__file__).parents[2]
ROLE = {
    "Name": "Looker",
    "IsCustom": True,
    "Description": "",
    "Actions": ["Microsoft.Web/sites/read", "Microsoft.Web/sites/config/list/action"],
    "NotActions": [],
    "DataActions": [],
    "NotDataActions": [],
    "AssignableScopes": ["/subscriptions/11111111-1111-4111-8111-111111111111"],
}


def run(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SANDBOX_STATE": str(state)}
    command = [sys.executable, "-m", "sandbox", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def exports(state: Path, *words: str) -> dict[str, str]:
    lines = [line for line in run(state, "env", *words).stdout.splitlines() if line.startswith("export ")]
    return dict(shlex.split(line)[1].split("=", 1) for line in lines)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("role")
    (folder / "role.json").write_text(json.dumps(ROLE))
    options = ["--role", str(folder / "role.json"), "--record", str(folder / "record.jsonl")]
    up = run(folder / "state", "up", "--detach", *options)
    assert (up.returncode, up.stderr) == (0, "")
    yield folder / "state"
    run(folder / "state", "down")


def ask(state: Path, method: str, path: str) -> httpx.Response:
    environment = exports(state)
    token = run(state, "token").stdout.strip()
    with httpx.Client(
        proxy=environment["HTTPS_PROXY"], verify=ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])
    ) as client:
        headers = {"Authorization": f"Bearer {token}"}
        url = f"https://management.azure.com{path}"
        return client.request(method, url, params={"api-version": "2023-12-01"}, headers=headers)


def test_the_rollback_principal_has_its_role_and_nothing_else_also_after_a_reset(state):
    for _ in range(2):
        assert ask(state, "GET", SITE).status_code == 200
        assert ask(state, "POST", f"{SITE}/restart").status_code == 403
        shown = ask(state, "GET", f"{SITE}/providers/Microsoft.Authorization/permissions")
        assert shown.json()["error"]["code"] == "AuthorizationFailed"
        assert run(state, "reset").returncode == 0


def test_what_was_asked_is_recorded_without_secrets(state):
    listed = ask(state, "POST", f"{SITE}/config/appsettings/list").json()
    assert listed["properties"]["DATABASE_URL"].startswith(("sqlite:", "@Microsoft.KeyVault("))
    entries = [json.loads(line) for line in (state.parent / "record.jsonl").read_text().splitlines()]
    assert {"method", "path", "query", "request", "status", "response"} < entries[-1].keys()
    assert set(entries[-1]["response"]["properties"].values()) == {"replaced"}
    assert entries[-1]["response"]["id"] == listed["id"]


def test_a_person_has_a_password_and_an_application_a_secret(state):
    lead, deployer = exports(state, "--as", "lead"), exports(state, "--as", "deployer")
    assert (lead["AZURE_USERNAME"], "AZURE_CLIENT_SECRET" in lead) == ("lead@fundrbolt.com", False)
    assert lead["AZURE_CLIENT_ID"] == "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
    assert "AZURE_USERNAME" not in deployer
    assert len({lead["AZURE_PASSWORD"], deployer["AZURE_CLIENT_SECRET"], exports(state)["AZURE_CLIENT_SECRET"]}) == 3
    assert lead["AZURE_CONFIG_DIR"] != deployer["AZURE_CONFIG_DIR"]
    assert run(state, "env", "--as", "lead").stdout.splitlines()[-1] == "unset AZURE_CLIENT_SECRET"
    assert run(state, "env", "--as", "deployer").stdout.splitlines()[-1] == "unset AZURE_USERNAME AZURE_PASSWORD"
    nobody = run(state, "env", "--as", "nobody")
    assert (nobody.returncode, nobody.stdout) == (2, "")
    assert "There is no 'nobody' who could sign in" in nobody.stderr


def test_a_token_is_printed_good_or_with_a_flaw(state):
    wanted = ["token", "--as", "lead", "--scope", "api://fundrbolt-rollback/.default"]
    claims = jwt.decode(run(state, *wanted).stdout.strip(), options={"verify_signature": False})
    assert (claims["aud"], claims["upn"]) == ("77777777-7777-4777-8777-777777777777", "lead@fundrbolt.com")
    late = jwt.decode(run(state, *wanted, "--expired").stdout.strip(), options={"verify_signature": False})
    assert late["exp"] < claims["iat"]
    foreign = run(state, *wanted, "--wrong-issuer", "--audience", "api://other").stdout.strip()
    claims = jwt.decode(foreign, options={"verify_signature": False})
    assert (claims["aud"], "22222222" in claims["iss"]) == ("api://other", False)
    assert run(state, *wanted, "--wrong-key").returncode == 0
    assert run(state, "token", "--as", "lead", "--scope", "api://nosuch/.default").returncode == 2


def test_a_role_that_is_none_is_told_before_anything_is_started(tmp_path):
    (tmp_path / "role.json").write_text("[]")
    refused = run(tmp_path / "state", "up", "--detach", "--role", str(tmp_path / "role.json"))
    assert (refused.returncode, "is not a custom role" in refused.stderr) == (2, True)
    assert run(tmp_path / "state", "status").returncode == 2
