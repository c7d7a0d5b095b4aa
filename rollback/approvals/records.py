"""What is kept of approvals: one line each in the run's folder, under a seal, and which tokens were used.

The seal is an HMAC with a key that lies in the state folder. It makes a line count only as it was written, and only for
the run and plan that it was written for: an edited, copied or invented line counts for nothing. It does not protect
from somebody who acts as the run's own operating system user: who is that can read the key, as well as the credential
with which the run changes Azure.
"""

import fcntl
import hmac
import os
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from rollback.approvals.policy import Need
from rollback.errors import ApprovalRefused, SettingsInvalid
from rollback.models import Model, now

KEY_BYTES = 32


class Approval(Model):
    """One person's word over one plan, in one run."""

    run: str
    plan_hash: str
    at: datetime
    how: Need
    via: str
    """Where it was given: `rollback approve`, `Prefect UI`."""
    rule: str
    """The rule that asked for it, in words."""
    oid: str | None = None
    """Object id in Entra ID; none where nobody knows who it was."""
    name: str | None = None
    upn: str | None = None
    """User principal name."""
    note: str = ""

    @property
    def who(self) -> str:
        """The person, as well as it is known."""
        if self.oid is None:
            return f"identity unknown ({self.via})"
        return f"{self.name or 'no name'} ({self.upn or 'application'}, {self.oid})"

    def __str__(self) -> str:
        remark = f": {self.note}" if self.note else ""
        return (
            f"{self.how} by {self.who} at {self.at:%Y-%m-%d %H:%M:%S} UTC over plan {self.plan_hash[:12]}, "
            f"{self.rule}{remark}"
        )


class _Sealed(Model):
    seal: str
    approval: Approval


class _UsedToken(Model):
    token: str
    """SHA-256 of the tenant's and the token's id."""
    run: str
    plan_hash: str
    until: datetime


class ApprovalRecord:
    """The approvals of one run."""

    def __init__(self, file: Path, key: bytes, run: str) -> None:
        self._file = file
        self._key = key
        self._run = run

    def keep(self, approval: Approval) -> None:
        """Keep an approval; durable on return."""
        line = _Sealed(seal=self._seal(approval), approval=approval).model_dump_json()
        _append(self._file, line)

    def kept(self, plan_hash: str, lifetime: timedelta) -> tuple[list[Approval], int]:
        """What holds for a plan now, and how many lines do not bear our seal."""
        found: list[Approval] = []
        broken = 0
        for line in _lines(self._file):
            approval = self._opened(line)
            if approval is None:
                broken += 1
            elif (approval.run, approval.plan_hash) == (self._run, plan_hash) and approval.at + lifetime > now():
                found.append(approval)
        return found, broken

    def _opened(self, line: str) -> Approval | None:
        try:
            sealed = _Sealed.model_validate_json(line)
        except ValidationError:
            return None
        return sealed.approval if hmac.compare_digest(sealed.seal, self._seal(sealed.approval)) else None

    def _seal(self, approval: Approval) -> str:
        return hmac.digest(self._key, approval.model_dump_json().encode(), "sha256").hex()


class ApprovalBooks:
    """What all runs of one state folder share: the key of the seal, and the tokens that were used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def record(self, run_folder: Path, run: str) -> ApprovalRecord:
        """The approvals of a run."""
        return ApprovalRecord(run_folder / "approvals.jsonl", self._key(), run)

    def use(self, token_id: str, run: str, plan_hash: str, until: datetime) -> None:
        """Let a token count for one plan of one run; raises `ApprovalRefused` where it did for another.

        `until`: when the token cannot be accepted any more, and may be forgotten.
        """
        used = _UsedToken(token=token_id, run=run, plan_hash=plan_hash, until=until)
        with self._locked():
            known = [each for each in self._used() if each.until > now()]
            before = next((each for each in known if each.token == token_id), None)
            if before is None:
                self._write(self._folder / "used-tokens.jsonl", [*known, used])
            elif (before.run, before.plan_hash) != (run, plan_hash):
                raise ApprovalRefused(
                    f"This token already approved another plan (run {before.run}).",
                    remedy="Get a new one: 'az logout' and 'az login' (the Azure CLI keeps a token for about an hour).",
                )

    def _used(self) -> list[_UsedToken]:
        file = self._folder / "used-tokens.jsonl"
        try:
            return [_UsedToken.model_validate_json(line) for line in _lines(file)]
        except ValidationError as error:
            raise SettingsInvalid(
                f"The list of used tokens is damaged: {file}.",
                remedy="Find out why, then remove it; tokens of the last hours could be used a second time then.",
            ) from error

    def _key(self) -> bytes:
        file = self._folder / "seal.key"
        with self._locked():
            if not file.exists():
                _write_private(file, secrets.token_hex(KEY_BYTES))
            content = file.read_bytes().decode("ascii", errors="replace")
        if not re.fullmatch(rf"[0-9a-f]{{{2 * KEY_BYTES}}}", content):
            raise SettingsInvalid(f"{file} is damaged.", remedy="Remove it: approvals that were kept are asked again.")
        return bytes.fromhex(content)

    def _write(self, file: Path, used: list[_UsedToken]) -> None:
        _write_private(file, "".join(each.model_dump_json() + "\n" for each in used))

    @contextmanager
    def _locked(self) -> Generator[None]:
        with (self._folder / "lock").open("w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _lines(file: Path) -> list[str]:
    if not file.exists():
        return []
    return [line for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line]


def _append(file: Path, line: str) -> None:
    torn = file.exists() and not file.read_bytes().endswith(b"\n")
    with file.open("a", encoding="utf-8") as opened:
        opened.write(("\n" if torn else "") + line + "\n")
        opened.flush()
        os.fsync(opened.fileno())


def _write_private(file: Path, content: str) -> None:
    temporary = file.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    temporary.replace(file)
