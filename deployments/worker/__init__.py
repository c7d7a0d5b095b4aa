"""A Prefect worker that starts each run in half a second, in a process of its own.

- `forking`: takes runs, forks a child for each, lets it end by itself when it is cancelled.
- `preload`: what the process that is forked from has imported.
- `child`: what happens in the fork.

A package with a `__main__`, so that a forked child does not import the worker's own main module again.
"""
