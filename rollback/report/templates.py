"""The templates of pages and artifacts, with the words that they share."""

from functools import cache
from typing import TYPE_CHECKING

from rollback.report import words

if TYPE_CHECKING:
    from jinja2 import Environment, Template


def get(name: str) -> "Template":
    """A template of `rollback/templates/`; what ends with `.html.j2` is escaped."""
    return _environment().get_template(name)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("rollback"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "seconds": words.seconds,
        "for_seconds": words.for_seconds,
        "instant": words.instant,
        "cell": words.cell,
        "sentence": words.sentence,
    }
    return environment
