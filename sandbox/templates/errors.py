"""What can be wrong with a template, and with asking for more than there is."""

from collections.abc import Generator
from contextlib import contextmanager

EXPRESSIONS = "https://aka.ms/arm-template-expressions"
SYNTAX = "https://aka.ms/arm-syntax"
RESOURCES = "https://aka.ms/arm-syntax-resources"
PARAMETERS = "https://aka.ms/arm-create-parameter-file"


class TemplateError(Exception):
    """Azure refuses the template: its error code and message.

    *Source:* learn.microsoft.com, "Resolve errors for invalid template" and "Troubleshoot common Azure deployment
    errors".
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class UnsupportedError(Exception):
    """Azure would do this and the sandbox does not: to be answered 501 with its name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not done here.")
        self.name = name


class NotYetError(Exception):
    """A reader cannot tell this yet: the resource is not there."""


class ExpressionError(Exception):
    """An expression cannot be evaluated: the middle of the message, without where it happened."""


class HiddenError(Exception):
    """A secure parameter's value is asked for where nothing secret may be shown."""


def invalid(what: str, help_page: str = SYNTAX) -> TemplateError:
    """InvalidTemplate, as Azure words what it finds before anything is deployed."""
    message = f"Deployment template validation failed: '{what} Please see {help_page} for usage details.'."
    return TemplateError("InvalidTemplate", message)


@contextmanager
def validating(subject: str) -> Generator[None]:
    """Word an expression's error as one of `subject` ("template resource 'x'"), found before anything is deployed."""
    try:
        yield
    except ExpressionError as error:
        raise invalid(f"The {subject} is not valid: {error}", EXPRESSIONS) from error


@contextmanager
def deploying(resource_id: str) -> Generator[None]:
    """Word an expression's error as one that appears when the resource's turn has come."""
    try:
        yield
    except ExpressionError as error:
        message = f"Unable to process template language expressions for resource '{resource_id}'. '{error}'"
        raise TemplateError("InvalidTemplate", message) from error
