"""Taking a database's schema back by the app's own alembic revisions.

`reading` loads the revision scripts in a process of its own and `judging` finds what each downgrade would do, from its
source (`sources`) and from its SQL (`statements`); `graph` starts that process, `models` is what comes of it, and
`counting` says how much data would be lost. `places` and `ways` are where alembic can be run, `running` runs it,
`rehearsing` tries it on a scratch restore, and `verifying` looks at what came of it.
"""
