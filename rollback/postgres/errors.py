"""What can go wrong between us and a PostgreSQL server, each with what to do next. No text ever holds a password."""

from rollback.errors import Permanent, Refused, Transient


class DatabaseUrlInvalid(Refused):
    """The secret is not a database URL that can be pointed at another host; never shows it."""


class ServerUnreachable(Transient):
    """Nothing answers at the server's address."""


class StillRecovering(Transient):
    """The server answers, but has not ended its recovery: its data is not final."""


class ConnectionLost(Transient):
    """The session ended while it was used: by the network, a restart or an administrator."""


class TookTooLong(Transient):
    """A statement did not end within its time, or waited too long for a lock."""


class FirewallRefuses(Permanent):
    """The server lets nobody in from our address."""


class PasswordWrong(Permanent):
    """The server does not accept the role with this password or token."""


class DatabaseMissing(Permanent):
    """The server has no such database."""


class TlsNotVerified(Permanent):
    """The server's certificate is not the one of the server that was meant, or is signed by an unknown authority."""


class StatementRefused(Permanent):
    """The server refuses a statement; names its reason."""


class PreparedTransactionsOpen(Permanent):
    """Transactions are prepared for a two-phase commit: they can be committed later, whatever is stopped now."""


class WritesDoNotStop(Permanent):
    """The server is still used or written to; says by whom."""


class TablesDiffer(Permanent):
    """A table is not the same table on both servers, so that its rows cannot be compared."""


class ExportFailed(Permanent):
    """The lost rows could not be written to a file; nothing half-written is left."""
