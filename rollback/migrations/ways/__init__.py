"""Where alembic is run: in a worktree on this machine, or by SSH in the container that has the revision's file.

The database's URL goes to either by standard input, and nothing of it comes back: what alembic writes is blackened.
"""
