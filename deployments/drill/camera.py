"""Keep a picture of a page: `python -m deployments.drill.camera URL FILE`; says why where there is none.

A program of its own, so that the browser finds the sandbox in its environment.
"""

import asyncio
import sys
from pathlib import Path

from rollback.errors import BrowserUnusable
from rollback.frontends.chromium import take_picture

if __name__ == "__main__":
    try:
        asyncio.run(take_picture(sys.argv[1], Path(sys.argv[2])))
    except BrowserUnusable as error:
        sys.stdout.write(error.message)
