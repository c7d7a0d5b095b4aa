"""Resource ids, taken apart."""

import re
from typing import Self

from rollback.errors import ResourceIdInvalid
from rollback.models import Model

_FRAME = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)/providers/(?P<namespace>[^/]+)/(?P<rest>.+)",
    re.IGNORECASE,
)


class ResourceId(Model):
    """One resource in a resource group; equal without regard to case by `same`."""

    subscription: str
    group: str
    namespace: str
    parts: tuple[tuple[str, str], ...]
    """Type and name of the resource, after those of what it belongs to."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The id, as the portal and `az resource show` give it; raises `ResourceIdInvalid`."""
        found = _FRAME.fullmatch(text.strip().rstrip("/"))
        words = found["rest"].split("/") if found else []
        if found is None or len(words) % 2 or not all(words) or "?" in text:
            raise ResourceIdInvalid(
                f"'{text}' is no id of a resource in a resource group.",
                remedy="Give it as 'az resource show … --query id' does: "
                "/subscriptions/…/resourceGroups/…/providers/NAMESPACE/TYPE/NAME.",
            )
        pairs = tuple(zip(words[::2], words[1::2], strict=True))
        return cls(subscription=found["subscription"], group=found["group"], namespace=found["namespace"], parts=pairs)

    def __str__(self) -> str:
        rest = "/".join(f"{kind}/{name}" for kind, name in self.parts)
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}/providers/{self.namespace}/{rest}"

    @property
    def type(self) -> str:
        """For instance `Microsoft.Web/sites/config`."""
        return "/".join((self.namespace, *(kind for kind, _ in self.parts)))

    @property
    def name(self) -> str:
        """For instance `fundrbolt-production-api/web`."""
        return "/".join(name for _, name in self.parts)

    @property
    def short(self) -> str:
        """For people, without subscription and resource group."""
        first, *others = self.parts
        return "/".join((first[1], *(f"{kind}/{name}" for kind, name in others)))

    @property
    def root(self) -> Self:
        """The resource that it belongs to, at the top; itself where it belongs to none."""
        return self.model_copy(update={"parts": self.parts[:1]})

    @property
    def parent(self) -> Self | None:
        """The resource that it belongs to; none at the top."""
        return self.model_copy(update={"parts": self.parts[:-1]}) if self.parts[1:] else None

    def child(self, kind: str, name: str) -> Self:
        """A resource that belongs to it."""
        return self.model_copy(update={"parts": (*self.parts, (kind, name))})

    @property
    def key(self) -> str:
        """Equal for equal resources: Azure compares ids without case."""
        return str(self).lower()
