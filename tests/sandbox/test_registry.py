"""The registry as clients ask it, and what becomes of a slot whose image cannot be had."""

import re

import httpx
import pytest
from azure.mgmt.web.models import SiteConfigResource
from azure_names import APP, GROUP, PRODUCTION_HOST, STAGING_HOST

from sandbox.errors import SandboxError
from sandbox.fundrbolt.releases import RELEASES
from sandbox.registry.images import digest_of
from sandbox.start import pinned

REGISTRY = "https://ghcr.io"
REPOSITORY = f"{REGISTRY}/v2/fundrbolt/fundrbolt-api"


async def pull(https: httpx.AsyncClient, path: str, method: str = "GET") -> httpx.Response:
    """As clients do: asked without a token, they go where the challenge sends them."""
    refused = await https.request(method, path)
    assert refused.status_code == 401
    challenge = dict(re.findall(r'(\w+)="([^"]*)"', refused.headers["WWW-Authenticate"]))
    query = {"service": challenge["service"], "scope": challenge["scope"]}
    token = (await https.get(challenge["realm"], params=query)).json()["token"]
    return await https.request(method, path, headers={"Authorization": f"Bearer {token}"})


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


async def test_images_are_found_by_tag_and_by_digest(https):
    assert (await pull(https, f"{REGISTRY}/v2/")).json() == {}
    tags = (await pull(https, f"{REPOSITORY}/tags/list")).json()
    assert tags == {"name": "fundrbolt/fundrbolt-api", "tags": ["v1.2.1", "v1.2.2", "v1.2.3"]}
    for reference in ("v1.2.2", RELEASES["v1.2.2"]):
        manifest = await pull(https, f"{REPOSITORY}/manifests/{reference}")
        assert manifest.headers["Docker-Content-Digest"] == RELEASES["v1.2.2"]
        assert manifest.json()["annotations"] == {"org.opencontainers.image.version": "v1.2.2"}
    head = await pull(https, f"{REPOSITORY}/manifests/v1.2.2", "HEAD")
    assert (head.headers["Docker-Content-Digest"], head.content) == (RELEASES["v1.2.2"], b"")


async def test_what_is_not_there_is_told_in_the_registrys_words(https):
    assert code(await pull(https, f"{REPOSITORY}/manifests/v9")) == (404, "MANIFEST_UNKNOWN")
    assert code(await pull(https, f"{REPOSITORY}/manifests/sha256:{'0' * 64}")) == (404, "MANIFEST_UNKNOWN")
    assert code(await pull(https, f"{REPOSITORY}x/tags/list")) == (404, "NAME_UNKNOWN")
    denied = await https.get(f"{REGISTRY}/token", params={"scope": "repository:fundrbolt/fundrbolt-api:push,pull"})
    assert code(denied) == (403, "DENIED")
    assert (await pull(https, f"{REPOSITORY}/blobs/sha256:{'0' * 64}")).status_code == 501
    assert (await https.post(f"{REPOSITORY}/blobs/uploads/")).status_code == 501


async def test_tags_are_paged(https):
    first = await pull(https, f"{REPOSITORY}/tags/list?n=2")
    assert first.json()["tags"] == ["v1.2.1", "v1.2.2"]
    [following] = re.findall(r'<([^>]*)>; rel="next"', first.headers["Link"])
    last = await pull(https, f"{REGISTRY}{following}")
    assert (last.json()["tags"], "Link" in last.headers) == (["v1.2.3"], False)


async def test_a_missing_image_and_a_registry_that_is_down(https, control):
    control.break_("image-missing", tag="v1.2.1")
    control.break_("image-missing", tag="v1.2.2")
    assert (await pull(https, f"{REPOSITORY}/tags/list")).json()["tags"] == ["v1.2.3"]
    assert code(await pull(https, f"{REPOSITORY}/manifests/{RELEASES['v1.2.2']}")) == (404, "MANIFEST_UNKNOWN")
    control.break_("registry-down")
    assert (await https.get(f"{REGISTRY}/v2/")).status_code == 503
    control.repair()
    assert (await pull(https, f"{REPOSITORY}/manifests/v1.2.2")).status_code == 200
    with pytest.raises(SandboxError, match=r"There is no image 'v9'"):
        control.break_("image-missing", tag="v9")


async def run(sdk, image: str) -> None:
    wanted = SiteConfigResource(properties={"linuxFxVersion": image})
    await sdk.web_apps.update_configuration_slot(GROUP, APP, "staging", wanted)


async def served(https: httpx.AsyncClient, host: str = STAGING_HOST) -> str:
    answer = await https.get(f"https://{host}/health")
    return answer.headers["X-Fundrbolt-Version"] if answer.status_code == 200 else str(answer.status_code)


@pytest.mark.parametrize("fault", ["image-missing", "registry-down"])
async def test_a_slot_whose_image_cannot_be_pulled_is_down_until_it_can(sdk, https, control, eventually, fault):
    control.break_(fault, **({"tag": "v1.2.1"} if fault == "image-missing" else {}))
    await run(sdk, pinned("v1.2.1"))

    async def serves(expected: str) -> None:
        async def is_so() -> bool:
            return await served(https) == expected

        await eventually(is_so)

    await serves("503")
    control.repair(fault)
    await serves("v1.2.1")


async def test_what_a_site_has_already_needs_no_registry(sdk, https, control, eventually):
    control.break_("registry-down")
    before = control.status().sites["production"].slots["production"].pid
    await sdk.web_apps.restart(GROUP, APP)
    await eventually(lambda: control.status().sites["production"].slots["production"].pid not in (before, None))
    assert await served(https, PRODUCTION_HOST) == "v1.2.3"


def test_an_image_is_known_by_tag_by_digest_and_by_both():
    digest = RELEASES["v1.2.2"]
    assert digest_of("DOCKER|ghcr.io/fundrbolt/fundrbolt-api:v1.2.2") == digest
    assert digest_of(pinned("v1.2.2")) == digest
    assert digest_of(f"DOCKER|ghcr.io/fundrbolt/fundrbolt-api:v1.2.2@{digest}") == digest
    for unknown in ("DOCKER|ghcr.io/fundrbolt/fundrbolt-api", "DOCKER|nginx:1", "DOCKER|", "PYTHON|3.11"):
        assert digest_of(unknown) is None
