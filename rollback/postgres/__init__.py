"""PostgreSQL, spoken to in SQL: who is on a server, what is in it, and how two servers differ.

Nothing here knows Azure, Key Vault or Prefect: servers are host names, and a password is handed in by the caller. This
is the only place that imports psycopg.
"""
