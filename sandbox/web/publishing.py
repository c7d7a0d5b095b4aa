"""What the Azure CLI asks for besides: publishing profiles, credentials and their policies. The secret is made up."""

from xml.sax.saxutils import quoteattr

from aiohttp import web

from sandbox.arm import ArmError, Call
from sandbox.state import PRODUCTION, Site, Slot
from sandbox.web.resources import child_json, find, for_site_and_slot

POLICIES = ("ftp", "scm")


def publishing_user(site: Site, slot: Slot) -> str:
    """Who publishes to a slot: the dollar is part of the name."""
    return f"${site.name}" if slot.name == PRODUCTION else f"${site.name}__{slot.name}"


async def _publish_xml(call: Call) -> web.Response:
    site, slot = find(call)
    scm = slot.host.replace(".azurewebsites", ".scm.azurewebsites")
    password = call.world.secrets.publishing_password
    ways = [
        ("Web Deploy", "MSDeploy", f"{scm}:443"),
        ("FTP", "FTP", f"ftps://waws-prod-blu-001.ftp.azurewebsites.windows.net/{site.name}/site/wwwroot"),
        ("Zip Deploy", "ZipDeploy", f"{scm}:443"),
    ]
    profiles = "".join(
        f"<publishProfile profileName={quoteattr(f'{site.name} - {name}')} publishMethod={quoteattr(method)} "
        f"publishUrl={quoteattr(url)} userName={quoteattr(publishing_user(site, slot))} userPWD={quoteattr(password)} "
        f"destinationAppUrl={quoteattr('https://' + slot.host)}><databases /></publishProfile>"
        for name, method, url in ways
    )
    return web.Response(text=f"<publishData>{profiles}</publishData>", content_type="application/xml")


async def _credentials(call: Call) -> web.Response:
    site, slot = find(call)
    user, password = publishing_user(site, slot), call.world.secrets.publishing_password
    scm = slot.host.replace(".azurewebsites", ".scm.azurewebsites")
    properties = {
        "name": None,
        "publishingUserName": user,
        "publishingPassword": password,
        "scmUri": f"https://{user}:{password}@{scm}",
    }
    return web.json_response(child_json(call, "publishingcredentials", user, properties))


async def _policy(call: Call) -> web.Response:
    name = call.names["policy"].lower()
    if name not in POLICIES:
        raise ArmError(404, "NotFound", f"There is no publishing credentials policy '{name}'.")
    return web.json_response(child_json(call, "basicPublishingCredentialsPolicies", name, {"allow": True}))


async def _policies(call: Call) -> web.Response:
    values = [child_json(call, "basicPublishingCredentialsPolicies", name, {"allow": True}) for name in POLICIES]
    return web.json_response({"value": values})


POLICIES_PATH = "/basicPublishingCredentialsPolicies"
POLICIES_READ = "{sites}/basicPublishingCredentialsPolicies/read"

ROUTES = [
    *for_site_and_slot("POST", "/publishxml", "{sites}/publishxml/action", _publish_xml),
    *for_site_and_slot("POST", "/config/publishingcredentials/list", "{sites}/config/list/action", _credentials),
    *for_site_and_slot("GET", POLICIES_PATH, POLICIES_READ, _policies),
    *for_site_and_slot("GET", POLICIES_PATH + "/{policy}", POLICIES_READ, _policy),
]
