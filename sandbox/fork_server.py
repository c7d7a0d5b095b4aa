"""What the fork server imports: all that an app needs. It ends with the sandbox then, even after a kill -9.

Its children hold the pipe by which it would notice by itself.
"""

from sandbox.forks import end_with_parent
from sandbox.fundrbolt import __main__, postgres, sqlite  # noqa: F401

end_with_parent()
