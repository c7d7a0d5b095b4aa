"""What a run replaced, kept in its folder: Azure's history is pruned, and this is how a rollback is undone."""

import json
import os
from datetime import datetime
from typing import Any

from pydantic import Field, ValidationError

from rollback.errors import ArchiveMissing
from rollback.infrastructure.templates import Template, check_parameters
from rollback.models import Model, now
from rollback.runs import RunFolder, RunHeader

FILE = "replaced-template.json"


class Archived(Model):
    """A deployment's template, and the parameters that Azure keeps: those that are secret are not among them."""

    deployment: str
    deployed_at: datetime | None
    archived_at: datetime = Field(default_factory=now)
    template: dict[str, Any]
    parameters: dict[str, Any]


def keep(folder: RunFolder, archived: Archived) -> None:
    """Keep it, whole or not at all, readable by its user only."""
    file = folder.folder / FILE
    temporary = file.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(json.dumps(archived.model_dump(mode="json"), indent=2))
        opened.flush()
        os.fsync(opened.fileno())
    temporary.replace(file)


def has(folder: RunFolder) -> bool:
    """Whether the run archived something."""
    return (folder.folder / FILE).exists()


def read(folder: RunFolder, undoing: RunHeader) -> Template:
    """What a run archived, as a template to deploy; raises `ArchiveMissing`, also where it is not what this run undoes.

    A template of another environment would be deployed into this one.
    """
    header, file = folder.header, folder.folder / FILE
    run = header.run
    if (header.procedure, header.environment) != (undoing.procedure, undoing.environment):
        raise ArchiveMissing(
            f"Run {run} is {header.procedure} on '{header.environment}', not {undoing.procedure} on "
            f"'{undoing.environment}'.",
            remedy="Name a run of this environment, see 'rollback status', or a tag.",
        )
    try:
        archived = Archived.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise ArchiveMissing(
            f"Run {run} ({header.procedure}) archived no template that can be read.",
            remedy="Name a run of roll-back-infrastructure that deployed something, or a tag.",
        ) from error
    what = f"the archive of run {run}"
    origin = f"'{archived.deployment}' as run {run} archived it"
    return Template(archived.template, "", origin, check_parameters(archived.parameters, what))
