"""In which forms alembic, its libraries and their tracebacks write the secrets of a database's URL."""

from urllib.parse import quote, quote_plus, unquote

from rollback.postgres.url import DatabaseUrl
from rollback.programs.output import written_forms


def forms_of(url: DatabaseUrl) -> tuple[str, ...]:
    """Every form of the URL, its credentials and its password: encoded or not, escaped, and line by line."""
    text = url.text.get_secret_value().strip()
    plain = url.password.get_secret_value()
    # As it is in the URL, which is not always how we would encode it.
    credentials = text.partition("://")[2].rpartition("@")[0]
    encoded = credentials.partition(":")[2]
    passwords = {plain, encoded, unquote(encoded), quote(plain, safe=""), quote_plus(plain)}
    return written_forms({text, credentials, f"{url.user}:{plain}", *passwords})
