"""Zip deployments over Azure Resource Manager, and the deployment that a token permits.

An accepted zip deployment is answered 202 with `Location`, as the SDKs' description of the operation has it.
Microsoft's example has `Azure-AsyncOperation` instead, to the same kind of address, and no recording of a genuine one
is known. The operation's result is 202 while it is in progress, then 200 with an empty body, or the error with which
it failed.
"""

import asyncio
import hmac

from aiohttp import web
from pydantic import BaseModel, Field

from sandbox.arm import HOST, ArmError, Call, Route, missing
from sandbox.resources import SUBSCRIPTION
from sandbox.static_sites import deployments, faults
from sandbox.static_sites.deployments import BusyError
from sandbox.static_sites.model import Deployment, StaticSite
from sandbox.static_sites.resources import BUILD, LOCATION, SITE, TYPE, find
from sandbox.web.operations import retry_after
from sandbox.world import World

CONTENT_HOST = "content.infrastructure.azurestaticapps.net"
UPLOADS = "/deployments"
REGION = LOCATION.replace(" ", "").lower()


class ZipDeployment(BaseModel):
    """Azure's StaticSiteZipDeployment."""

    app_zip_url: str = Field(default="", alias="appZipUrl")
    api_zip_url: str | None = Field(default=None, alias="apiZipUrl")
    deployment_title: str | None = Field(default=None, alias="deploymentTitle")
    provider: str | None = None
    function_language: str | None = Field(default=None, alias="functionLanguage")


class ZipDeploymentEnvelope(BaseModel):
    """Azure's StaticSiteZipDeploymentARMResource."""

    properties: ZipDeployment


def busy(site: StaticSite) -> ArmError:
    """409 for a deployment in progress. The words are the sandbox's own: Azure's are not known."""
    message = f"Cannot deploy to static site '{site.name}' because another deployment is in progress."
    return ArmError(409, "Conflict", message)


def _accepted(call: Call, deployment: Deployment, *, first: bool) -> web.Response:
    path = f"/subscriptions/{call.world.state.subscription_id}/providers/Microsoft.Web/locations/{REGION}"
    version = call.request.query["api-version"]
    location = f"https://{HOST}{path}/operationResults/{deployment.id}?api-version={version}"
    waits = retry_after(call.world.pace.retry_after, first=first)
    return web.Response(status=202, headers={"Location": location, **waits})


async def _zip_deploy(call: Call) -> web.Response:
    site = find(call)
    if call.names.get("environment", BUILD).lower() != BUILD:
        raise missing(call.request, "there are no preview environments")
    wanted = call.parse(ZipDeploymentEnvelope).properties
    if wanted.api_zip_url or wanted.function_language:
        raise missing(call.request, "there are no functions: apiZipUrl and functionLanguage are not honoured")
    if not wanted.app_zip_url:
        raise ArmError(400, "BadRequest", "The parameter appZipUrl is required.")
    deployment = Deployment(
        by=call.principal.name,
        url=wanted.app_zip_url,
        title=wanted.deployment_title or "",
        provider=wanted.provider or "",
    )
    await _deploy(call.world, site, deployment)
    return _accepted(call, deployment, first=True)


async def _deploy(
    world: World, site: StaticSite, deployment: Deployment, archive: bytes | None = None
) -> asyncio.Event:
    """Begin, as the faults that the request meets let it; the event is set at the end."""
    fault = faults.met(world, site)
    if fault is not None:
        faults.before(fault, site)
        faults.shape(deployment, fault)
    try:
        ended = deployments.begin(world, site, deployment, archive)
    except BusyError as error:
        raise busy(site) from error
    if fault is not None:
        await faults.after(fault, ended)
    return ended


async def _result(call: Call) -> web.Response:
    wanted = call.names["operation"].lower()
    every = (each for site in call.world.state.static_sites for each in site.deployments)
    deployment = next((each for each in every if each.id == wanted), None)
    if deployment is None:
        raise ArmError(404, "NotFound", f"The operation {wanted} is not found.")
    if deployment.status == "in progress":
        return _accepted(call, deployment, first=False)
    if deployment.status == "failed":
        code = "BadRequest" if deployment.failure_status == 400 else "InternalServerError"
        raise ArmError(deployment.failure_status, code, deployment.failure)
    return web.Response()


class Uploads:
    """Stands in for the service that the Static Web Apps CLI deploys to, whose protocol is not public.

    `POST /deployments?app=NAME` with `Authorization: Bearer DEPLOYMENT_TOKEN` and a zip as the body: 200 with
    `{"version": …}` once the content is served, 401 for a token that is not the site's, 400 with the reason for a
    content that cannot be served, 409 while another deployment is in progress. Nothing of this is Azure's own.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    async def handle(self, request: web.Request) -> web.Response:
        """One upload."""
        if (request.method, request.path) != ("POST", UPLOADS):
            raise missing(request, "the content service takes deployments only")
        site = self._site(request)
        archive = await request.read()
        deployment = Deployment(by="token")
        ended = await _deploy(self._world, site, deployment, archive)
        await ended.wait()
        if deployment.status == "failed":
            code = "BadRequest" if deployment.failure_status == 400 else "InternalServerError"
            raise ArmError(deployment.failure_status, code, deployment.failure)
        return web.json_response({"site": site.name, "version": site.version})

    def _site(self, request: web.Request) -> StaticSite:
        """The site that is named, if the token is its own."""
        site = self._world.state.find_static_site(request.query.get("app", ""))
        if site is not None and not site.token_revoked:
            expected = f"Bearer {site.token(self._world.secrets.signing_key)}"
            if hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected.encode()):
                return site
        # Azure's uploader says so of both.
        raise ArmError(401, "Unauthorized", "No matching Static Web App was found or the api key was invalid.")


ROUTES = [
    Route("POST", SITE + "/zipdeploy", f"{TYPE}/zipdeploy/action", _zip_deploy),
    Route("POST", SITE + "/builds/{environment}/zipdeploy", f"{TYPE}/builds/zipdeploy/action", _zip_deploy),
    Route(
        "GET", SUBSCRIPTION + "/providers/Microsoft.Web/locations/{location}/operationResults/{operation}", "", _result
    ),
]
