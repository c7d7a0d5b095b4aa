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
DOMAIN = ".postgres.database.azure.com"
POSTGRESQL = "postgresql"
_HOST = re.compile(r"(?i)(?:^|[;\s])(?:host|server|data source)\s*=\s*(?:tcp:)?['\"]?([^;,\s'\"]+)")
_DATABASE = re.compile(r"(?i)(?:^|[;\s])(?:database|dbname|initial catalog)\s*=\s*['\"]?([^;\s'\"]+)")
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
    holders: frozenset[str] = frozenset()
    """The sites and slots that have the setting now, as `site/slot`, in lower letters."""

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
    written = written_by(changes, template, parameters, now.hosts, skipped)
    servers = list(_check_servers(written, now))
    secrets = list(_check_secret(written, template, parameters, now))
    _require_kept(written, now)
    return [*servers, *secrets, *_check_settings(written, now), *_check_connections(written, now)]


def written_by(
    changes: Iterable[RawChange],
    template: dict[str, Any],
    parameters: dict[str, Any],
    hosts: Mapping[str, str],
    skipped: Collection[str],
) -> list[RawChange]:
    """What is written, what Azure did not evaluate included; raises `WrongDatabase` where it cannot be told."""
    written = [each for each in changes if each.get("changeType") != ChangeKind.IGNORE]
    concerned = {each.lower() for each in (SECRET, SERVER, *SITES, *SETTINGS)}
    return [*written, *read_skipped(walk(template, parameters, _references(hosts)), written, skipped, concerned)]


def sites_of(written: Iterable[RawChange]) -> dict[str, str]:
    """The sites and slots whose app settings are written: ids by names, `site/slot` in lower letters."""
    found = [resource for resource, _ in _sets(written)]
    return {
        _site(each).lower(): each.rsplit("/", 2)[0] if type_of(each).lower() in SETTINGS else each for each in found
    }


def _sets(written: Iterable[RawChange]) -> Iterator[tuple[str, RawChange]]:
    """What sets all app settings of a site, by the resource's id; those that Azure did not tell, first."""
    for each in sorted(written, key=lambda each: each.get("after") is not None):
        resource = str(each.get("resourceId") or "")
        kind, own = type_of(resource).lower(), name_of(resource).lower()
        in_site = kind in SITES and _whole(kind, each.get("after")) is not None
        if in_site or (kind in SETTINGS and own.endswith("/appsettings")):
            yield resource, each


def _site(resource: str) -> str:
    """The site or slot of a resource, as `site/slot`."""
    return name_of(resource).rpartition("/")[0] if type_of(resource).lower() in SETTINGS else name_of(resource)


def _require_kept(written: list[RawChange], now: InUse) -> None:
    """Settings are replaced as a whole: a site that has the app's setting now has it afterwards."""
    last: dict[str, RawChange] = {}
    # Where a site and a resource of its own both set them, the latter comes later, and lasts.
    for resource, each in sorted(_sets(written), key=lambda pair: type_of(pair[0]).lower() in SETTINGS):
        last[_site(resource).lower()] = each
    for site, each in last.items():
        if site not in now.holders:
            continue
        resource = str(each.get("resourceId"))
        where = f"'{_site(resource)}'{each.get(PLACE, '')}"
        whole = _whole(type_of(resource).lower(), each.get("after"))
        if not isinstance(whole, list | dict):
            raise _unknown(f"the settings of {where}")
        if now.setting not in dict(_settings(type_of(resource).lower(), name_of(resource), each.get("after"))):
            raise WrongDatabase(
                f"The template takes setting '{now.setting}' from {where}: the app finds its database by it.",
                remedy=f"Name a release whose template has that setting, as a reference to secret '{now.secret}' of "
                f"vault '{now.vault}'; nothing was touched.",
            )


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


def _check_connections(changes: list[RawChange], now: InUse) -> Iterator[str]:
    """Connection strings, as URLs or as .NET and libpq write them."""
    for each in changes:
        resource = str(each.get("resourceId") or "")
        for name, value, kind in _connections(type_of(resource).lower(), name_of(resource), each.get("after")):
            host, database = _HOST.search(value), _DATABASE.search(value)
            known = host is not None and (host[1].lower().endswith(DOMAIN) or host[1].lower() == now.url.host.lower())
            if value.startswith(REFERENCE) or not (known or _is_url(value) or kind == POSTGRESQL):
                continue
            what = f"connection string '{name}' of '{name_of(resource).partition('/')[0]}'{each.get(PLACE, '')}"
            if host is None or _is_url(value):
                _require_same(value, what, now)
            else:
                _require_place(host[1], database[1] if database else now.url.database, what, now)
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


def _whole(kind: str, after: Any) -> Any:
    """All app settings of a site, or of a resource of their own, as the template has them."""
    return at(after, "properties") if kind in SETTINGS else at(after, "properties", "siteConfig", "appSettings")


def _settings(kind: str, name: str, after: Any) -> Iterator[tuple[str, Any]]:
    """The app settings that a resource of the template sets."""
    if kind in SITES:
        for each in _listed(_whole(kind, after)):
            yield str(each["name"]), each.get("value")
    elif kind in SETTINGS and name.lower().endswith("/appsettings"):
        own = _whole(kind, after)
        yield from cast("dict[str, Any]", own).items() if isinstance(own, dict) else ()


def _connections(kind: str, name: str, after: Any) -> Iterator[tuple[str, str, str]]:
    """The connection strings that a resource of the template sets: name, value, and kind in lower letters."""
    if kind in SITES:
        for each in _listed(at(after, "properties", "siteConfig", "connectionStrings")):
            yield str(each["name"]), str(each.get("connectionString") or ""), str(each.get("type")).lower()
    elif kind in SETTINGS and name.lower().endswith("/connectionstrings"):
        own = at(after, "properties")
        for called, each in cast("dict[str, Any]", own).items() if isinstance(own, dict) else ():
            yield called, str(at(each, "value") or ""), str(at(each, "type")).lower()


def _listed(found: Any) -> Iterator[dict[str, Any]]:
    """The elements of a list that have names."""
    for each in cast("list[Any]", found) if isinstance(found, list) else ():
        if isinstance(each, dict) and "name" in each:
            yield cast("dict[str, Any]", each)


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
    _require_place(url.host, url.database, what, now)
    if whole and (url.user, url.password) != (now.url.user, now.url.password):
        raise WrongDatabase(
            f"The template would write another role or password to {what} than the one in use ('{now.url.user}').",
            remedy="Let secret_parameters of the platform file name the secret with the password in use; nothing was "
            "touched.",
        )


def _require_place(host: str, database: str, what: str, now: InUse) -> None:
    there, here = (host.lower(), database), (now.url.host.lower(), now.url.database)
    if there != here:
        raise WrongDatabase(
            f"The template would point the app back: it writes host '{host}', database '{database}' to {what}, "
            f"and the app uses '{now.url.database}' on '{now.url.host}' now.",
            remedy=f"Let the parameter come from the secret itself, by secret_parameters = {{ … = '{now.vault}/"
            f"{now.secret}' }} in the platform file; nothing was touched.",
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
