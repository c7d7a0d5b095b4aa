"""That a deployment does not point the app back to an old database.

After a restore the secret names another server than an earlier release's template does. What the template would write
to that secret, to the app's setting and as database server is held against what the secret names now; what cannot be
told is refused. No URL is shown: only hosts and databases are.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from rollback.errors import WrongDatabase
from rollback.infrastructure.blinding import REFERENCE, is_expression
from rollback.infrastructure.declared import Name, at, walk
from rollback.infrastructure.expressions import UNKNOWN, Reference, Unknown
from rollback.infrastructure.skipped import PLACE, read_skipped
from rollback.infrastructure.what_if import ChangeKind, RawChange, name_of, type_of
from rollback.postgres.errors import DatabaseUrlInvalid
from rollback.postgres.url import DatabaseUrl

SECRET = "Microsoft.KeyVault/vaults/secrets"  # noqa: S105 - a type's name
SERVER = "Microsoft.DBforPostgreSQL/flexibleServers"
SITES = ("microsoft.web/sites", "microsoft.web/sites/slots")
SETTINGS = tuple(f"{each}/config" for each in SITES)
_IN_URI = re.compile(
    r"secreturi=https://(?P<vault>[\w-]+)\.[^/]+/secrets/(?P<secret>[\w-]+)(?:/(?P<version>\w+))?", re.I
)
_PARTS = {"vault": "VaultName", "secret": "SecretName", "version": "SecretVersion"}


@dataclass(frozen=True)
class InUse:
    """The database that the app uses now, and how it finds it."""

    vault: str
    secret: str
    version: str
    """The secret's."""
    url: DatabaseUrl
    setting: str
    """The app setting that holds the URL, or a reference to the secret."""
    hosts: Mapping[str, str]
    """The hosts of the subscription's database servers, by their names in lower letters."""

    @property
    def server(self) -> str:
        """The name of the server that the URL leads to; where it names an alias, the alias's first part."""
        host = self.url.host.lower()
        found = (name for name, own in self.hosts.items() if own.lower() == host)
        return next(found, host.partition(".")[0])


def check(
    changes: Iterable[RawChange],
    template: dict[str, Any],
    parameters: dict[str, Any],
    now: InUse,
    skipped: Collection[str] = (),
) -> list[str]:
    """What was checked, in words; raises `WrongDatabase` where the app would not find its database of now any more.

    `changes` as Azure gives them, `parameters` with their secrets: Azure masks what a template writes to a vault.
    `skipped`: ids of what Azure did not evaluate; the template itself is read for it.
    """
    written = [each for each in changes if each.get("changeType") != ChangeKind.IGNORE]
    concerned = {each.lower() for each in (SECRET, SERVER, *SITES, *SETTINGS)}
    written += read_skipped(walk(template, parameters, _references(now.hosts)), written, skipped, concerned)
    servers = list(_check_servers(written, now))
    return [*servers, *_check_secret(written, template, parameters, now), *_check_settings(written, now)]


def _check_secret(
    changes: list[RawChange], template: dict[str, Any], parameters: dict[str, Any], now: InUse
) -> Iterator[str]:
    for each in changes:
        resource = str(each.get("resourceId") or "")
        if (
            type_of(resource).lower() != SECRET.lower()
            or name_of(resource).lower() != f"{now.vault}/{now.secret}".lower()
        ):
            continue
        shown = at(each.get("after"), "properties", "value")
        values = [shown] if _is_url(shown) else written_to(template, parameters, now.secret, now.hosts)
        what = f"secret '{now.secret}' of vault '{now.vault}'{each.get(PLACE, '')}"
        if not values:
            raise _unknown(what)
        for value in values:
            _require_same(value, what, now, whole=True)
        yield f"the template writes {what}, and it goes on naming {now.url.host}"


def _check_settings(changes: list[RawChange], now: InUse) -> Iterator[str]:
    for each in changes:
        resource = str(each.get("resourceId") or "")
        for name, value in _settings(type_of(resource).lower(), name_of(resource), each.get("after")):
            if name != now.setting and not _is_url(value):
                continue
            what = f"setting '{name}' of '{name_of(resource).partition('/')[0]}'{each.get(PLACE, '')}"
            if isinstance(value, str) and value.startswith(REFERENCE):
                _require_own_secret(value, what, now)
            elif not (is_expression(value) and REFERENCE in value and re.search(rf"\b{now.secret}\b", value)):
                _require_same(value, what, now)
            yield f"{what} leads to the database that is used now"


def _check_servers(changes: list[RawChange], now: InUse) -> Iterator[str]:
    """The names of the template's servers: after a restore an old one's would be opened and set up again."""
    ids = [str(each.get("resourceId") or "") for each in changes]
    servers = [name_of(each) for each in ids if type_of(each).lower() == SERVER.lower()]
    own = now.server
    if servers and own not in {each.lower() for each in servers}:
        raise WrongDatabase(
            f"The template is of database server '{servers[0]}', and the app uses '{own}': secret '{now.secret}' names "
            "it now, as after a restore.",
            remedy="Give the name of the server in use to the template's parameter, in infrastructure.values of the "
            "platform file; nothing was touched.",
        )
    if servers:
        yield f"the template's database server '{own}' is the one that is used now"


def _settings(kind: str, name: str, after: Any) -> Iterator[tuple[str, Any]]:
    """The app settings that a resource of the template sets."""
    if kind in SITES:
        listed: list[Any] = at(after, "properties", "siteConfig", "appSettings") or []
        for each in listed:
            if isinstance(each, dict) and "name" in each:
                setting = cast("dict[str, Any]", each)
                yield str(setting["name"]), setting.get("value")
    elif kind in SETTINGS and name.lower().endswith("/appsettings"):
        yield from (cast("dict[str, Any] | None", at(after, "properties")) or {}).items()


def _require_own_secret(reference: str, what: str, now: InUse) -> None:
    """A reference names the secret of now, and no version of it but the current one."""
    found = _IN_URI.search(reference)
    named = found.groupdict() if found else {}
    if not named:
        parts = dict(re.findall(r"(\w+)=([^;)]+)", reference))
        named = {
            "vault": parts.get("VaultName"),
            "secret": parts.get("SecretName"),
            "version": parts.get("SecretVersion"),
        }
    if (named["vault"], named["secret"]) != (now.vault, now.secret) or named["version"] not in {None, now.version}:
        version = ", in an old version" if named["secret"] == now.secret and named["version"] else ""
        raise WrongDatabase(
            f"The template lets {what} refer to secret '{named['secret']}' of vault '{named['vault']}'{version}: the "
            f"app finds its database by secret '{now.secret}' of '{now.vault}'.",
            remedy="Name a release whose template refers to that secret without a version; nothing was touched.",
        )


def _require_same(value: Any, what: str, now: InUse, *, whole: bool = False) -> None:
    """The same database, and with `whole` by the same role and password: apps that read the secret sign in with it."""
    if not isinstance(value, str) or is_expression(value):
        raise _unknown(what)
    try:
        url = DatabaseUrl.parse(value)
    except DatabaseUrlInvalid:
        raise _unknown(what) from None
    there, here = (url.host.lower(), url.database), (now.url.host.lower(), now.url.database)
    if there != here:
        raise WrongDatabase(
            f"The template would point the app back: it writes host '{url.host}', database '{url.database}' to {what}, "
            f"and the app uses '{now.url.database}' on '{now.url.host}' now.",
            remedy=f"Let the parameter come from the secret itself, by secret_parameters = {{ … = '{now.vault}/"
            f"{now.secret}' }} in the platform file; nothing was touched.",
        )
    if whole and (url.user, url.password) != (now.url.user, now.url.password):
        raise WrongDatabase(
            f"The template would write another role or password to {what} than the one in use ('{now.url.user}').",
            remedy="Let secret_parameters of the platform file name the secret with the password in use; nothing was "
            "touched.",
        )


def _unknown(what: str) -> WrongDatabase:
    return WrongDatabase(
        f"The template writes {what}, and which database that would name cannot be told.",
        remedy="Let the template take it by a parameter, and the parameter come from the secret itself, by "
        "secret_parameters in the platform file; nothing was touched.",
    )


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and re.match(r"\s*postgres(?:ql)?(?:\+\w+)?://", value) is not None


def written_to(
    template: dict[str, Any], parameters: dict[str, Any], secret: str, hosts: Mapping[str, str]
) -> list[Any]:
    """What a template writes to the secret: the value, or `UNKNOWN` where it cannot be told before.

    `hosts`: those of database servers, by their names in lower letters.
    """
    return [
        each.value("properties", "value")
        for each in walk(template, parameters, _references(hosts))
        if each.kind == SECRET.lower() and _is_named(each.name, secret)
    ]


def _references(hosts: Mapping[str, str]) -> Reference:
    """What is known of other resources before the deployment: the hosts of database servers."""

    def reference(resource: str) -> Any:
        kind, _, name = resource.rpartition("/")
        host = hosts.get(name.lower()) if kind.lower() == SERVER.lower() else None
        return {"fullyQualifiedDomainName": host} if host else UNKNOWN

    return reference


def _is_named(name: Name, secret: str) -> bool:
    """Whether a resource of the template is the secret; one whose name cannot be told may be."""
    return isinstance(name, Unknown) or name.lower().rpartition("/")[2] == secret.lower()
