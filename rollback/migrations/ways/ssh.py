"""Alembic in the container of a slot, whose image has the current revision's file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rollback.azure import AzureConnection
from rollback.migrations.ways.checking import require_found
from rollback.migrations.ways.shell import looking, packing, running
from rollback.migrations.ways.url_forms import forms_of
from rollback.migrations.ways.way import Ended, WayUnfit
from rollback.postgres.url import DatabaseUrl
from rollback.programs.output import OnLine, Output


@dataclass(frozen=True)
class SshWay:
    """Runs alembic by SSH; what the container's own environment says of a database is not used."""

    connection: AzureConnection
    app: str
    slot: str
    host: str
    """Kudu's, as `tunnel.scm_host` gives it."""
    folder: str
    """Where alembic.ini is in the image."""
    command: tuple[str, ...]
    url_variable: str
    revision: str
    """The one that the database is at: its file must be in the image."""

    @property
    def name(self) -> str:
        """For people."""
        return f"container of {self.app}/{self.slot}"

    async def check(self) -> None:
        """Raise `WayUnfit` unless the container can be entered and has alembic, with the current revision's file."""
        output = Output()
        ended = await self._start(looking(self.folder, self.command, self.revision), b"", output)
        require_found(ended, name=self.name, folder=self.folder, command=" ".join(self.command), revision=self.revision)

    async def run(
        self, arguments: Sequence[str], url: DatabaseUrl, environment: Mapping[str, str], on_line: OnLine
    ) -> Ended:
        """Run alembic to its end; where the tunnel is cut or the run cancelled, it may go on in the container.

        Raises only while nothing was done: `WayUnfit`, `AzureUnreachable`, or a credential that is not accepted.
        """
        script = running(self.folder, self.command, arguments, self.url_variable, environment)
        given = url.text.get_secret_value().strip().encode() + b"\n"
        return await self._start(script, given, Output(on_line, forms_of(url)))

    async def fetch(self) -> bytes:
        """alembic.ini and the folders that it names, as a gzipped tar; raises `WayUnfit`."""
        packed = bytearray()
        status = await self._feed(packing(self.folder), b"", packed.extend)
        if status != 0:
            raise WayUnfit(
                f"The {self.name} cannot pack the revisions in '{self.folder}'.", remedy="Is there a tar in the image?"
            )
        return bytes(packed)

    async def _start(self, script: str, given: bytes, output: Output) -> Ended:
        status = await self._feed(script, given, output.feed)
        output.end()
        return Ended(status=status, tail=output.tail)

    async def _feed(self, script: str, given: bytes, received: Callable[[bytes], None]) -> int | None:
        from rollback.migrations.ways.remote import run_remotely
        from rollback.migrations.ways.tunnel import tunnel

        async with tunnel(self.connection, self.host, self.name) as socket:
            return await run_remotely(socket, script, given, received, self.name)
