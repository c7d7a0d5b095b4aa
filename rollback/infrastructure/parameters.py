"""What a template is deployed with: the release's own file, what the platform file says, and secrets from Key Vault."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from rollback.errors import TemplateUnfit
from rollback.infrastructure.blinding import Blinding
from rollback.infrastructure.templates import Template
from rollback.redaction import BLACK

SECURE = frozenset({"securestring", "secureobject"})


@dataclass(frozen=True)
class Parameters:
    """Each parameter as Azure takes it. Secrets are in it: it is never kept, and its representation shows no value."""

    given: dict[str, dict[str, Any]] = field(repr=False)
    secret: frozenset[str]
    """Names of those whose values are secret."""

    @property
    def secret_values(self) -> list[str]:
        """Values that must be seen nowhere."""
        return [value for name in self.secret if isinstance(value := self.given[name].get("value"), str)]

    def shown(self, blinding: Blinding) -> dict[str, str]:
        """For people: each parameter by its name."""
        return {name: self._show(name, each, blinding) for name, each in sorted(self.given.items())}

    def _show(self, name: str, given: dict[str, Any], blinding: Blinding) -> str:
        if "reference" in given:
            return f"secret '{given['reference'].get('secretName')}', read by Azure from Key Vault"
        if name in self.secret:
            return BLACK
        value = blinding.value(given.get("value"), name, "")
        return value.text if value else "null"


def choose(template: Template, values: Mapping[str, Any], secrets: Mapping[str, SecretStr], what: str) -> Parameters:
    """The parameters that the template takes; raises `TemplateUnfit` for one that is missing, or not known to it.

    What the platform file says is for all releases: a template that does not know such a parameter goes without.
    """
    declared: dict[str, Any] = template.body.get("parameters") or {}
    known = {name.lower(): name for name in declared}
    given: dict[str, dict[str, Any]] = {}
    for name, each in template.file.items():
        if name.lower() not in known:
            raise TemplateUnfit(
                f"The parameters' file of {what} names '{name}', which its template does not know.",
                remedy="Name a release whose template and parameters fit together.",
            )
        given[known[name.lower()]] = each
    for name, value in values.items():
        if name.lower() in known:
            given[known[name.lower()]] = {"value": value}
    own = {known[name.lower()]: value for name, value in secrets.items() if name.lower() in known}
    given |= {name: {"value": value.get_secret_value()} for name, value in own.items()}
    missing = [name for name, each in declared.items() if name not in given and "defaultValue" not in each]
    if missing:
        raise TemplateUnfit(
            f"The template of {what} needs parameter '{missing[0]}', and nothing gives it.",
            remedy="Name its secret in secret_parameters of the platform file, or its value in values.",
        )
    secure = {name for name, each in declared.items() if str(each.get("type")).lower() in SECURE}
    return Parameters(given, frozenset(own) | (secure & given.keys()))
