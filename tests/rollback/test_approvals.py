"""Which approval a plan needs, and what is kept of those it got: only what bears our seal, for this run and plan."""

import stat
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from approving import AUDIENCE, GROUP, LEAD, Restart
from support import PLATFORM_FILE, quick_platform_file

from rollback.approvals.policy import Need, Policy, Rule
from rollback.approvals.records import Approval, ApprovalBooks
from rollback.errors import ApprovalRefused, SettingsInvalid
from rollback.models import now
from rollback.plans import Plan, Risk
from rollback.settings import load_settings

HOUR = timedelta(hours=1)


def plan(risk: str = "medium", environment: str = "production", procedure: str = "clear-cache") -> Plan:
    class Rated(Restart):
        pass

    Rated.rated = risk
    return Rated(procedure=procedure, environment=environment, reason="a test")


@pytest.mark.parametrize(
    ("risk", "environment", "needs", "people"),
    [
        ("low", "production", Need.NONE, 1),
        ("low", "dev", Need.NONE, 1),
        ("medium", "production", Need.SIGNED, 1),
        ("medium", "staging", Need.CLICK, 1),
        ("high", "production", Need.SIGNED, 2),
        ("high", "dev", Need.SIGNED, 1),
    ],
)
def test_the_shipped_file_asks_for_what_the_risk_and_the_environment_are_worth(
    monkeypatch: pytest.MonkeyPatch, risk: Risk, environment: str, needs: Need, people: int
) -> None:
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "a-subscription")
    rule = load_settings(PLATFORM_FILE).approval.requirement(plan(risk, environment)).rule
    assert (rule.needs, rule.people) == (needs, people)


@pytest.mark.parametrize(
    ("risk", "needs", "people"), [("low", "none", 1), ("medium", "signed", 1), ("high", "signed", 2)]
)
@pytest.mark.parametrize("environment", ["production", "prod", "dev"])
def test_where_no_rule_matches_it_is_treated_as_production(
    risk: Risk, environment: str, needs: str, people: int
) -> None:
    requirement = Policy().requirement(plan(risk, environment))
    assert (requirement.rule.needs, requirement.rule.people) == (needs, people)
    assert "no rule covers it" in requirement.words


def test_the_first_rule_that_covers_procedure_risk_and_environment_decides() -> None:
    rules = (
        Rule(procedures=("restore-*",), needs=Need.SIGNED),
        Rule(environments=("prod*",), risks=("medium",), needs=Need.CLICK),
        Rule(needs=Need.NONE),
    )
    policy = Policy(audience=AUDIENCE, group=GROUP, rules=rules)
    assert policy.requirement(plan(procedure="restore-database")).name == "rule 1"
    assert policy.requirement(plan()).name == "rule 2"
    assert policy.requirement(plan(environment="dev")).name == "rule 3"
    assert policy.requirement(plan("low")).name == "rule 3"


def test_a_plan_that_needs_a_person_is_left_neither_to_nobody_nor_to_an_application() -> None:
    class Revoking(Restart):
        rated: ClassVar[Risk] = "high"
        needs_person: ClassVar[bool] = True

    made = Revoking(procedure="clear-cache", environment="production", reason="a test")
    nobody = Rule(risks=("high",), needs=Need.NONE)
    by_default = Policy(rules=(nobody,)).requirement(made).rule
    assert (by_default.needs, by_default.people) == (Need.SIGNED, 2)
    pipeline = Rule(needs=Need.SIGNED, apps=True)
    rules = Policy(audience=AUDIENCE, group=GROUP, rules=(nobody, pipeline))
    assert rules.requirement(made).rule.needs is Need.SIGNED
    assert not rules.requirement(made).rule.apps
    assert rules.requirement(plan("medium")).rule.apps


def test_a_kind_of_plan_that_does_not_say_its_risk_is_high() -> None:
    class Silent(Plan):
        note: ClassVar[str] = "says nothing"

    assert Silent(procedure="clear-cache", environment="dev", reason="a test").risk == "high"


@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ('needs = "click"', 'needs = "click"\npeople = 2', "approval.rules.2"),
        ('needs = "click"', 'needs = "click"\napps = true', "approval.rules.2"),
        ('needs = "click"', 'needs = "nod"', "approval.rules.2.needs"),
        ('risks = ["low"]', 'risk = ["low"]', "approval.rules.0.risk"),
        ("expires_after_minutes = 30", "expires_after_minutes = 61", "approval.rules.1.expires_after_minutes"),
        ("people = 2", "people = 3", "approval.rules.3.people"),
        (f'group = "{GROUP}"\n', "", "audience and group must be set"),
        (f'group = "{GROUP}"', 'group = "approvers"', "approval.group"),
        (f'"{AUDIENCE}"', f'"{AUDIENCE}/.default"', "approval.audience"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_by_its_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str, field: str
) -> None:
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "a-subscription")
    file = quick_platform_file(tmp_path)
    content = file.read_text(encoding="utf-8")
    assert before in content
    file.write_text(content.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(SettingsInvalid, match=field.replace(".", r"\.")):
        load_settings(file)


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (Policy(group=GROUP, tenant_id=GROUP), "approval.audience"),
        (Policy(audience=AUDIENCE, tenant_id=GROUP), "approval.group"),
        (Policy(audience=AUDIENCE, group=GROUP), "approval.tenant_id"),
        (Policy(audience=AUDIENCE, group=GROUP, tenant_id="fundrbolt.onmicrosoft.com"), "approval.tenant_id"),
    ],
)
def test_signatures_that_could_not_be_checked_are_not_waited_for(policy: Policy, field: str) -> None:
    with pytest.raises(SettingsInvalid, match=field):
        policy.signers()


@pytest.fixture
def books(tmp_path: Path) -> ApprovalBooks:
    return ApprovalBooks(tmp_path / "approvals")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "1f6c20ab"
    folder.mkdir()
    return folder


def approval(**changes: object) -> Approval:
    given: dict[str, object] = {
        "run": "1f6c20ab",
        "plan_hash": "a" * 64,
        "at": now(),
        "how": Need.SIGNED,
        "via": "rollback approve",
        "rule": "rule 1",
        "oid": LEAD,
    }
    return Approval.model_validate(given | changes)


def kept(books: ApprovalBooks, folder: Path, run: str = "1f6c20ab", plan_hash: str = "a" * 64) -> tuple[int, int]:
    approvals, broken = books.record(folder, run).kept(plan_hash, HOUR)
    return len(approvals), broken


def test_an_approval_is_kept_for_its_run_and_plan_only(books: ApprovalBooks, folder: Path) -> None:
    books.record(folder, "1f6c20ab").keep(approval())
    assert kept(books, folder) == (1, 0)
    assert kept(books, folder, plan_hash="b" * 64) == (0, 0)
    assert kept(books, folder, run="other") == (0, 0)


def test_an_approval_holds_no_longer_than_it_was_given_for(books: ApprovalBooks, folder: Path) -> None:
    books.record(folder, "1f6c20ab").keep(approval(at=now() - HOUR))
    assert kept(books, folder) == (0, 0)


def test_what_is_edited_or_invented_counts_for_nothing(books: ApprovalBooks, folder: Path) -> None:
    books.record(folder, "1f6c20ab").keep(approval())
    file = folder / "approvals.jsonl"
    line = file.read_text(encoding="utf-8")
    forged = [
        line.replace("a" * 64, "b" * 64),
        line.replace(LEAD, GROUP),
        line.replace('"signed"', '"click"'),
        line.replace("1f6c20ab", "2f6c20ab"),
        approval().model_dump_json() + "\n",
        '{"seal": "", "approval": ' + approval().model_dump_json() + "}\n",
        "not even JSON\n",
    ]
    for each in forged:
        file.write_text(each, encoding="utf-8")
        for run, plan_hash in (("1f6c20ab", "a" * 64), ("2f6c20ab", "a" * 64), ("1f6c20ab", "b" * 64)):
            assert kept(books, folder, run, plan_hash) == (0, 1), each


def test_an_approval_from_another_state_folder_counts_for_nothing(
    books: ApprovalBooks, folder: Path, tmp_path: Path
) -> None:
    ApprovalBooks(tmp_path / "elsewhere").record(folder, "1f6c20ab").keep(approval())
    assert kept(books, folder) == (0, 1)


def test_a_line_that_a_crash_tore_does_not_take_the_next_one_along(books: ApprovalBooks, folder: Path) -> None:
    (folder / "approvals.jsonl").write_text('{"seal": "12', encoding="utf-8")
    books.record(folder, "1f6c20ab").keep(approval())
    assert kept(books, folder) == (1, 1)


def test_the_key_of_the_seal_is_private_and_stays(books: ApprovalBooks, folder: Path, tmp_path: Path) -> None:
    books.record(folder, "1f6c20ab").keep(approval())
    key = tmp_path / "approvals" / "seal.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert kept(ApprovalBooks(tmp_path / "approvals"), folder) == (1, 0)


def test_a_damaged_key_is_said_and_not_replaced(books: ApprovalBooks, folder: Path, tmp_path: Path) -> None:
    for content in ("", "00ff", "not hex"):
        (tmp_path / "approvals" / "seal.key").write_text(content, encoding="utf-8")
        with pytest.raises(SettingsInvalid, match=r"seal\.key"):
            books.record(folder, "1f6c20ab")


def test_a_token_counts_for_one_plan_of_one_run(books: ApprovalBooks) -> None:
    books.use("token", "1f6c20ab", "a" * 64, now() + HOUR)
    books.use("token", "1f6c20ab", "a" * 64, now() + HOUR)
    books.use("another", "2f6c20ab", "a" * 64, now() + HOUR)
    with pytest.raises(ApprovalRefused, match="already approved another plan"):
        books.use("token", "1f6c20ab", "b" * 64, now() + HOUR)
    with pytest.raises(ApprovalRefused, match="run 1f6c20ab"):
        books.use("token", "2f6c20ab", "a" * 64, now() + HOUR)


def test_a_used_token_is_forgotten_when_it_cannot_be_accepted_any_more(books: ApprovalBooks, tmp_path: Path) -> None:
    books.use("token", "1f6c20ab", "a" * 64, now())
    books.use("another", "2f6c20ab", "a" * 64, now() + HOUR)
    assert (tmp_path / "approvals" / "used-tokens.jsonl").read_text(encoding="utf-8").count("\n") == 1


def test_where_the_used_tokens_are_not_known_no_token_counts(books: ApprovalBooks, tmp_path: Path) -> None:
    (tmp_path / "approvals" / "used-tokens.jsonl").write_text("torn", encoding="utf-8")
    with pytest.raises(SettingsInvalid, match="used tokens is damaged"):
        books.use("token", "1f6c20ab", "a" * 64, now() + HOUR)
