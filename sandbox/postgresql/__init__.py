"""Microsoft.DBforPostgreSQL: flexible servers, each a real PostgreSQL of its own behind a TLS front.

`model` is what is kept, `start` how the platform's servers stand in the beginning. On disk: `launch` starts
PostgreSQL's programs, `cluster` is one data folder, `template` what new ones are copied from, `clusters` all of them,
`address` which loopback address each server has. On the wire: `front` lets clients in or refuses them, `protocol` is
what it reads and writes, `sources` says where a connection comes from. For Azure Resource Manager: `servers`,
`restores`, `operations`, `configurations`, `administrators`, `children` (firewall rules, backups, databases, names).
`faults` is what can be broken here.

Not here: plain new servers, replicas, virtual endpoints, PgBouncer, major upgrades, customer-managed keys.
"""
