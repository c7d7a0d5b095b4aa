"""Releases and builds: which image digest is which release.

A *release* is a version that we ship; a *build* is what a slot runs. The identity of a build is its image digest: a tag
can move.
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from rollback.errors import SettingsInvalid, UnknownRelease
from rollback.models import Model

_IMAGE = re.compile(
    r"^(?:DOCKER\|)?(?P<repository>[^@|\s]+?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?$",
    re.IGNORECASE,
)


class Build(Model):
    """What a slot runs: an image by digest, and the release that it is, where known."""

    image: str
    """The reference as Azure has it, without `DOCKER|`."""
    digest: str | None = None
    """`sha256:` and 64 hex digits; none where neither Azure nor the manifest tells it."""
    release: str | None = None

    def __str__(self) -> str:
        short = f"{self.digest[:19]}…" if self.digest else f"{self.image}, digest unknown"
        return f"{self.release} ({short})" if self.release else short

    @property
    def name(self) -> str:
        """The release, or the short digest where no release is known."""
        return self.release or (self.digest[7:19] if self.digest else self.image)


Revision = Annotated[str, Field(pattern=r"^[\w.]+$")]
"""One of alembic's: relative words such as `head` and `-1` have become this before anything is kept."""
Version = Annotated[str, Field(min_length=1)]


class Release(Model):
    """What a release is made of and which schemas it can use, as the manifest says; what is missing is unknown."""

    image_digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    alembic_head: Revision | None = None
    """The newest revision whose file is in the release itself."""
    oldest_schema: Revision | None = None
    newest_schema: Revision | None = None
    """It runs on every schema from the oldest to this one, which may be newer than its own head."""
    schemas: tuple[Revision, ...] = ()
    """Revisions in their order, oldest first: the release's own, then later ones that it was tested on."""
    frontend_version: Version | None = None
    cache_version: Version | None = None

    @model_validator(mode="after")
    def _schemas_in_order(self) -> Self:
        if len(set(self.schemas)) != len(self.schemas):
            raise ValueError("schemas names a revision twice")
        named = {"alembic_head": self.alembic_head, "oldest_schema": self.oldest_schema}
        for field, revision in (named | {"newest_schema": self.newest_schema}).items():
            if revision is not None and (self.schemas or field != "alembic_head") and revision not in self.schemas:
                raise ValueError(f"{field} {revision} is not among its schemas")
        if (self.oldest_schema is None) != (self.newest_schema is None):
            raise ValueError("oldest_schema and newest_schema belong together")
        if self.oldest_schema is not None and self.newest_schema is not None:
            oldest, newest = self.schemas.index(self.oldest_schema), self.schemas.index(self.newest_schema)
            if oldest > newest:
                raise ValueError("oldest_schema comes after newest_schema in its schemas")
            if self.alembic_head is not None and not oldest <= self.schemas.index(self.alembic_head) <= newest:
                raise ValueError("alembic_head is outside of oldest_schema to newest_schema")
        return self

    @property
    def usable(self) -> tuple[str, ...]:
        """The schemas that it is said to run on, oldest first; its own head where no more is said."""
        if self.oldest_schema is None or self.newest_schema is None:
            return (self.alembic_head,) if self.alembic_head else ()
        return self.schemas[self.schemas.index(self.oldest_schema) : self.schemas.index(self.newest_schema) + 1]


class Manifest(Model):
    """All releases that are known, by name. Empty where the platform has none: then only digests are known."""

    file: Path | None = None
    releases: dict[str, Release] = Field(default_factory=dict)

    def digest_of(self, release: str) -> str:
        """The image digest of a release; raises `UnknownRelease` with the names that there are."""
        if release not in self.releases:
            if self.file is None:
                remedy = "Name a file in releases.manifest of the platform file."
            else:
                remedy = f"{self.file} knows: {', '.join(sorted(self.releases)) or 'none'}."
            raise UnknownRelease(f"There is no release '{release}'.", remedy=remedy)
        return self.releases[release].image_digest

    def build_of(self, linux_fx_version: str) -> Build:
        """The build behind App Service's `linuxFxVersion`, for instance `DOCKER|ghcr.io/o/app@sha256:…`."""
        found = _IMAGE.match(linux_fx_version)
        if not found:
            return Build(image=linux_fx_version)
        image = re.sub(r"^DOCKER\|", "", linux_fx_version, flags=re.IGNORECASE)
        digest, tag = found["digest"], found["tag"]
        if digest is None and tag in self.releases:
            digest = self.releases[tag].image_digest
        release = next((name for name, each in self.releases.items() if each.image_digest == digest), None)
        return Build(image=image, digest=digest, release=release)


def load_manifest(file: Path | None) -> Manifest:
    """The release manifest; raises `SettingsInvalid` naming the release and field that are wrong."""
    if file is None:
        return Manifest()
    try:
        return Manifest.model_validate({"file": file, **tomllib.loads(file.read_text(encoding="utf-8"))})
    except OSError as error:
        raise SettingsInvalid(
            f"releases.manifest: {file} cannot be read.", remedy="Check the path in the platform file."
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsInvalid(f"{file} is not valid TOML: {error}.", remedy="Mend the file.") from error
    except ValidationError as error:
        raise SettingsInvalid(f"{file} is wrong in {wrong_fields(error)}.", remedy="Mend it.") from error


def wrong_fields(error: ValidationError) -> str:
    """Each wrong field of the manifest with why, in one line."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc'])) or 'entry'}: {each['msg'].removeprefix('Value error, ')}"
        for each in error.errors()
    )
