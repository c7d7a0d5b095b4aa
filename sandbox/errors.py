"""What goes wrong for the sandbox's own user: each error is one line that says what to do."""


class SandboxError(Exception):
    """Shown as it is, without a traceback; the command ends with status 2."""


class AlreadyRunningError(SandboxError):
    """Another sandbox holds this state folder."""


class NotRunningError(SandboxError):
    """No sandbox answers for this state folder."""


class UnknownFaultError(SandboxError):
    """No such fault, or an option that it does not take."""
