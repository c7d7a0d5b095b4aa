"""Imported by every interpreter that finds it on its path: alembic is not there then."""

import sys
from typing import cast

# None is how Python itself marks a module as missing.
cast("dict[str, object]", sys.modules)["alembic"] = None
