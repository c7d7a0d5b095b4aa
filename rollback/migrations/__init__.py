"""Schema migrations: what alembic's revisions do, where they are run, and what was lost or held by them.

`reading` loads the revision scripts in a process of its own and `judging` finds what each downgrade would do, from its
source (`sources`) and from its SQL (`statements`); `graph` starts that process, `models` is what comes of it, and
`counting` says how much data would be lost. `current` tells where a database is. `repository` and `ways` are where
alembic is run.
"""
