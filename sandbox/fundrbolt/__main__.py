"""`python -m sandbox.fundrbolt --release v1.2.2 --port 0`: serve until SIGTERM or SIGINT."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from aiohttp import web

from sandbox.fundrbolt.api import Api, OneLineLog
from sandbox.fundrbolt.settings import Settings, read_settings

GRACE_SECONDS = 0.1
"""How long answers that are being sent may take after SIGTERM: a stopped slot must be gone at once."""


async def serve(settings: Settings) -> None:
    """Serve on 127.0.0.1 until told to end. `listening on PORT` on stdout says that requests are taken."""
    told_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
    api = Api(settings)
    runner = web.AppRunner(
        api.application(),
        access_log_class=OneLineLog,
        access_log=logging.getLogger("fundrbolt"),
        shutdown_timeout=GRACE_SECONDS,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", settings.port)
        await site.start()
        sys.stdout.write(f"listening on {runner.addresses[0][1]}\n")
        sys.stdout.flush()
        # Only now: a database that is slow or away must not keep the build from starting.
        await api.begin()
        await told_to_end.wait()
    finally:
        await runner.cleanup()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the status is 0 after SIGTERM, 1 when the port cannot be had, 2 for a setting that makes no sense."""
    settings = read_settings(arguments, os.environ)
    logging.basicConfig(format=f"%(asctime)s {settings.release} %(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        asyncio.run(serve(settings))
    except OSError as error:
        sys.stderr.write(f"fundrbolt: cannot listen: {error.strerror or error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
