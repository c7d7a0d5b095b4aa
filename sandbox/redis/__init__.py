"""Microsoft.Cache: Azure Cache for Redis and Azure Managed Redis, each a real Valkey behind TLS.

Clients connect to `front`, which knows access keys and faults; the rest is Valkey's own answer. Its processes start
when somebody first needs them.
"""
