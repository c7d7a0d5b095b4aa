"""What the fork server imports: all that an app needs. It ends with the sandbox then, even after a kill -9.

Its children hold the pipe by which it would notice by itself.
"""

from importlib import import_module

from sandbox.forks import end_with_parent

for name in ("__main__", "cache", "postgres", "sqlite"):
    import_module(f"sandbox.fundrbolt.{name}")
end_with_parent()
