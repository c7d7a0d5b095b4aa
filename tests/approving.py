"""What the tests of approvals share: a tenant that signs tokens, a plan, and runs that wait."""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from support import World, run_flow

from rollback.approvals.handover import Offer, Verdict, ask, hand_over
from rollback.approvals.policy import Signers
from rollback.errors import NotWaiting
from rollback.journal import Entry
from rollback.plans import Plan, PlannedStep, Risk
from rollback.runs import Outcome, RunFolder, Store

AUDIENCE = "77777777-7777-4777-8777-777777777777"
SCOPE = f"{AUDIENCE}/.default"
GROUP = "55555555-5555-4555-8555-555555555555"
TENANT = "22222222-2222-4222-8222-222222222222"
SIGNERS = Signers(audience=AUDIENCE, group=GROUP, tenant_id=TENANT)
LEAD, SECOND = "66666666-6666-4666-8666-000000000002", "66666666-6666-4666-8666-000000000003"


class Tenant:
    """A tenant of Entra ID whose keys are ours: it signs what the genuine one never would."""

    def __init__(self) -> None:
        self.keys = {"first": rsa.generate_private_key(public_exponent=65537, key_size=2048)}
        self.asked: list[str] = []
        self.configuration = {"issuer": SIGNERS.issuer, "jwks_uri": f"{SIGNERS.authority}/discovery/v2.0/keys"}

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    async def before_answering(self) -> None:
        """What Entra ID takes its time for."""

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        await self.before_answering()
        self.asked.append(request.url.path.rpartition("/")[2])
        if request.url.path.endswith("openid-configuration"):
            return httpx.Response(200, json=self.configuration)
        published = [
            {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": name, "use": "sig"}
            for name, key in self.keys.items()
        ]
        return httpx.Response(200, json={"keys": published})

    def claims(self, exp_in: int = 3600, nbf_in: int = 0, **changes: Any) -> dict[str, Any]:
        """What a good token says, with changes, times in seconds from now; None leaves a claim out."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "aud": AUDIENCE,
            "iss": SIGNERS.issuer,
            "iat": now,
            "nbf": now + nbf_in,
            "exp": now + exp_in,
            "groups": [GROUP],
            "name": "Lead",
            "oid": LEAD,
            "preferred_username": "lead@fundrbolt.com",
            "scp": "user_impersonation",
            "tid": TENANT,
            "uti": os.urandom(8).hex(),
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, **changes: Any) -> str:
        return jwt.encode(self.claims(**changes), self.keys["first"], algorithm="RS256", headers={"kid": "first"})


class Restart(Plan):
    """A plan of a kind of its own."""

    rated: ClassVar[Risk] = "medium"
    app: str = "an-app"

    @property
    def title(self) -> str:
        return f"{self.app} restarts"

    def steps(self) -> list[PlannedStep]:
        return [PlannedStep(title="Restart", detail=self.app)]

    def facts(self) -> list[tuple[str, str]]:
        return [("App", self.app)]

    @property
    def goal(self) -> str:
        return f"{self.app} runs"


def ask_for_approval(rule: str) -> None:
    """Let the platform file of this test ask for approval of what is otherwise not approved at all."""
    file = Path(os.environ["ROLLBACK_CONFIG"])
    content = file.read_text(encoding="utf-8")
    before = 'risks = ["low"]\nneeds = "none"\n'
    assert before in content
    file.write_text(content.replace(before, f'risks = ["low"]\n{rule}\n'), encoding="utf-8")


class WaitingRun:
    """The flow, run the plain way beside the test, up to where it waits."""

    def __init__(self, world: World, state: Path, **parameters: object) -> None:
        self._world = world
        self._store = Store(state)
        self._told = asyncio.Event()
        self.notes: list[str] = []
        self.task: asyncio.Task[Outcome] = asyncio.create_task(run_flow(self._watch, **parameters))

    def _watch(self, entry: Entry) -> None:
        self.notes.append(entry.text)
        self._told.set()

    @property
    def folder(self) -> RunFolder:
        return self._store.latest(1)[0]

    async def until(self, text: str) -> None:
        """Wait until the run's journal says this; fails where the run ends without."""
        while not any(text in note for note in self.notes):
            self._told.clear()
            assert not self.task.done(), f"it never said {text!r}: {self.notes}"
            waiting = asyncio.create_task(self._told.wait())
            await asyncio.wait({waiting, self.task}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()

    async def waits(self) -> "WaitingRun":
        await self.until("Waiting until")
        # The note comes before the door is open: somebody who is that quick has to knock twice.
        while True:
            with suppress(NotWaiting):
                await asyncio.to_thread(ask, self.folder.folder)
                return self

    async def offer(self, who: str, **flaws: Any) -> Verdict:
        """What the run makes of a token that the sandbox's Entra ID issues."""
        return await self.offer_token(self._world.control.token(who, SCOPE, **flaws))

    async def offer_token(self, token: str | None) -> Verdict:
        folder = self.folder.folder
        wanted = await asyncio.to_thread(ask, folder)
        offer = Offer.model_validate({"plan_hash": wanted.plan_hash, "token": token})
        return await asyncio.to_thread(hand_over, folder, offer)

    async def cancel(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
