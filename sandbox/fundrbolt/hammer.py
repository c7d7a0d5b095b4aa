"""`python -m sandbox.fundrbolt.hammer`: a client nobody knows of, which writes donations until SIGTERM.

From the environment: DATABASE_URL and WRITES_A_SECOND. Thrown out or refused, it connects again.
"""

import os
import time

import psycopg

NAME = "nightly-import"
RETRY_SECONDS = 0.02
CONNECT_SECONDS = 5
GIVE = "INSERT INTO donations (amount_cents, currency, donor) VALUES (100, 'USD', 'Hammer ' || %s)"


def hammer(url: str, interval: float) -> None:
    """Write a donation every `interval` seconds, or as fast as the database takes them."""
    written, due = 0, time.monotonic()
    while True:
        try:
            with psycopg.connect(
                url, autocommit=True, application_name=NAME, connect_timeout=CONNECT_SECONDS
            ) as connection:
                while True:
                    time.sleep(max(0.0, due - time.monotonic()))
                    connection.execute(GIVE, (str(written),))
                    written, due = written + 1, max(due + interval, time.monotonic() - interval)
        except psycopg.Error:
            time.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    hammer(os.environ["DATABASE_URL"], 1 / float(os.environ["WRITES_A_SECOND"]))
