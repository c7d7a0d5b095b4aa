"""Which releases GitHub has, and their files fetched from a server on loopback whose answers each test chooses."""

import asyncio
import functools
import hashlib
import io
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import githubkit
import httpx
import pytest
from pydantic import SecretStr

from rollback.errors import ArtifactUnfit, GitHubUnreachable, Permanent, UnknownRelease
from rollback.github.connection import GitHubConnection, connect
from rollback.github.releases import Asset, Published, download, find, get_signed_url, list_releases
from rollback.github.settings import GitHub as Repository

REPOSITORY = Repository(repository="fundrbolt/fundrbolt", vault="vault", secret="github-token")  # noqa: S106
CONTENT = b"an archive" * 1000
ASSET = Asset(id=7, name="web.zip", size_bytes=len(CONTENT), digest=f"sha256:{hashlib.sha256(CONTENT).hexdigest()}")
SIGNED = "https://release-assets.githubusercontent.com/7?sig=a-signature-of-theirs"
Handle = Callable[[httpx.Request], httpx.Response]


async def ask(handle: Handle, work: Callable[[GitHubConnection], Awaitable[Any]]) -> Any:
    made = functools.partial(githubkit.GitHub, async_transport=httpx.MockTransport(handle))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(githubkit, "GitHub", made)
        return await work(connect(REPOSITORY, SecretStr("ghp_0123456789abcdef"), lambda _: None))


def release(tag: str, day: int | None = 1, **told: Any) -> dict[str, Any]:
    """A release as GitHub tells it, in little."""
    moment = f"2026-03-{day:02}T12:00:00Z" if day else None
    where = "https://api.github.com/repos/fundrbolt/fundrbolt/releases/1"
    user = dict.fromkeys(USER_ADDRESSES, where) | {"login": "ci", "id": 1, "node_id": "x", "gravatar_id": ""}
    addresses = dict.fromkeys(("url", "html_url", "assets_url", "upload_url", "tarball_url", "zipball_url"), where)
    return {
        **addresses, "id": 1, "node_id": "x", "tag_name": tag, "target_commitish": "main", "name": tag, "draft": False,
        "prerelease": False, "created_at": "2026-03-01T12:00:00Z", "published_at": moment, "assets": [],
        "author": {**user, "type": "User", "site_admin": False}, **told,
    }  # fmt: skip


USER_ADDRESSES = (
    "avatar_url", "url", "html_url", "followers_url", "following_url", "gists_url", "starred_url", "subscriptions_url",
    "organizations_url", "repos_url", "events_url", "received_events_url",
)  # fmt: skip


def asset(name: str, **told: Any) -> dict[str, Any]:
    where = "https://api.github.com/repos/fundrbolt/fundrbolt/releases/assets/7"
    return {
        "url": where, "browser_download_url": where, "id": 7, "node_id": "x", "name": name, "label": "",
        "state": "uploaded", "content_type": "application/zip", "size": 3, "download_count": 0, "digest": None,
        "created_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-01T12:00:00Z", "uploader": None, **told,
    }  # fmt: skip


async def listed(*pages: list[dict[str, Any]]) -> tuple[tuple[Published, ...], list[str]]:
    asked = list[str]()

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["page"])
        page = int(request.url.params["page"])
        return httpx.Response(200, json=pages[page - 1] if page <= len(pages) else [])

    return await ask(handle, list_releases), asked


async def test_releases_come_newest_first_by_when_they_were_published() -> None:
    found, _ = await listed([release("v1.2.1", 1), release("v1.2.3", 9), release("v1.2.2", 5)])
    assert [each.tag for each in found] == ["v1.2.3", "v1.2.2", "v1.2.1"]
    assert found[0].published_at == datetime(2026, 3, 9, 12, tzinfo=UTC)


async def test_drafts_and_pre_releases_are_preliminary_and_what_was_never_published_is_left_out() -> None:
    found, _ = await listed(
        [release("v2", 9, draft=True), release("v3", 8, prerelease=True), release("v4", None), release("v1", 7)]
    )
    assert [(each.tag, each.preliminary) for each in found] == [("v2", True), ("v3", True), ("v1", False)]


async def test_further_pages_are_asked_for_while_they_are_full_and_not_for_ever() -> None:
    full = [release("v1.0.0", 2)] * 100
    found, asked = await listed(full, [release("v2.0.0", 3)])
    assert (len(found), found[0].tag, asked) == (101, "v2.0.0", ["1", "2"])
    found, asked = await listed(*[full] * 9)
    assert (len(found), asked) == (500, ["1", "2", "3", "4", "5"])


async def test_a_file_is_found_by_its_name_with_what_github_says_of_it() -> None:
    files = [asset("admin.zip", id=6), asset("web.zip", size=5, digest="sha256:ab")]
    found, _ = await listed([release("v1.2.2", assets=files)])
    assert found[0].asset("web.zip") == Asset(id=7, name="web.zip", size_bytes=5, digest="sha256:ab")
    with pytest.raises(ArtifactUnfit, match=r"Release v1\.2\.2 .* no file 'web\.tar'\. It has: admin\.zip, web\.zip\."):
        found[0].asset("web.tar")
    found, _ = await listed([release("v1.2.2")])
    with pytest.raises(ArtifactUnfit, match=r"It has: none\. Upload it \('gh release upload v1\.2\.2 web\.zip'\)"):
        found[0].asset("web.zip")


async def test_an_unknown_release_is_told_with_the_newest_that_there_are() -> None:
    found, _ = await listed([release(f"v1.0.{day}", day) for day in range(1, 13)])
    assert find(found, "v1.0.1").tag == "v1.0.1"
    with pytest.raises(UnknownRelease, match=r"no release 'v9'\. The newest are: v1\.0\.12, .*, v1\.0\.3\.$"):
        find(found, "v9")
    with pytest.raises(UnknownRelease, match="The newest are: none"):
        find((), "v9")


async def test_the_signed_address_is_what_github_redirects_to_and_a_secret() -> None:
    requests = list[httpx.Request]()

    def redirect(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(302, headers={"Location": SIGNED})

    url = await ask(redirect, lambda connection: get_signed_url(connection, ASSET))
    assert url.get_secret_value() == SIGNED
    assert "a-signature" not in repr(url)
    (request,) = requests
    assert request.url.path == "/repos/fundrbolt/fundrbolt/releases/assets/7"
    assert request.headers["Accept"] == "application/octet-stream"


@pytest.mark.parametrize(
    "given", [httpx.Response(200, json=asset("web.zip")), httpx.Response(302), httpx.Response(301, json={})]
)
async def test_a_github_that_gives_no_address_is_told(given: httpx.Response) -> None:
    with pytest.raises(Permanent, match=r"no address for the file 'web\.zip' \(\d+\).*way 'script'"):
        await ask(lambda _: given, lambda connection: get_signed_url(connection, ASSET))


class Store:
    """Where GitHub keeps files: one answer, sent in pieces until it ends or the client goes away."""

    def __init__(self) -> None:
        self.head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.content = CONTENT
        self.endless = False
        self.request = b""
        self.closed_by_client = asyncio.Event()
        self.url = SecretStr("")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.request = await reader.readuntil(b"\r\n\r\n")
            writer.write(self.head)
            pieces = [self.content[at : at + 4096] for at in range(0, len(self.content), 4096)]
            for piece in pieces:
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if b"chunked" in self.head else piece)
                await writer.drain()
            if self.endless:
                await reader.read()  # until the client closes
                self.closed_by_client.set()
                return
            writer.write(b"0\r\n\r\n" if b"chunked" in self.head else b"")
        finally:
            writer.close()


@pytest.fixture
async def store() -> AsyncGenerator[Store]:
    made = Store()
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.url = SecretStr(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/7?sig=a-signature-of-theirs")
        yield made


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[httpx.AsyncClient]:
    """Those that were opened: a generator that nobody closes would be closed some time after its user is gone."""
    opened, genuine = list[httpx.AsyncClient](), httpx.AsyncClient

    def opening(**settings: Any) -> httpx.AsyncClient:
        opened.append(genuine(**settings))
        return opened[-1]

    monkeypatch.setattr(httpx, "AsyncClient", opening)
    return opened


async def test_a_file_is_fetched_whole_without_our_token(store: Store) -> None:
    target = io.BytesIO()
    assert await download(store.url, ASSET, target, len(CONTENT)) == ASSET.digest
    assert target.getvalue() == CONTENT
    assert b"authorization" not in store.request.lower()
    without_digest = ASSET.model_copy(update={"digest": None})
    assert await download(store.url, without_digest, io.BytesIO(), len(CONTENT)) == ASSET.digest


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"size_bytes": 9_999}, "10000 bytes with sha256:.*GitHub says 9999 bytes"),
        ({"size_bytes": 10_001, "digest": None}, "GitHub says 10001 bytes with no digest"),
        ({"digest": f"sha256:{'0' * 64}"}, r"GitHub says 10000 bytes with sha256:0{12}…"),
    ],
)
async def test_a_corrupt_file_is_told_with_both_digests(store: Store, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ArtifactUnfit, match=rf"File 'web\.zip' is corrupt: .*{told}"):
        await download(store.url, ASSET.model_copy(update=wrong), io.BytesIO(), 2 * len(CONTENT))


async def test_a_file_that_is_too_large_is_cut_off_while_it_comes_and_the_connection_closed(
    store: Store, clients: list[httpx.AsyncClient]
) -> None:
    store.endless, target = True, io.BytesIO()
    with pytest.raises(ArtifactUnfit, match=r"File 'web\.zip' is larger than 0 MB"):
        await download(store.url, ASSET, target, len(CONTENT) - 1)
    assert len(target.getvalue()) < len(CONTENT)
    assert [each.is_closed for each in clients] == [True]
    async with asyncio.timeout(5):
        await store.closed_by_client.wait()


async def test_an_own_error_while_it_is_written_closes_the_connection_as_well(
    store: Store, clients: list[httpx.AsyncClient]
) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    store.endless = True
    with pytest.raises(OSError, match="No space left"):
        await download(store.url, ASSET, Full(), len(CONTENT))
    assert [each.is_closed for each in clients] == [True]
    async with asyncio.timeout(5):
        await store.closed_by_client.wait()


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "cannot be read from where GitHub keeps it: 403"),
        (b"HTTP/1.1 302 Found\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n", "where GitHub keeps it: 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n", "could not be fetched: RemoteProtocolError"),
        (b"nonsense\r\n\r\n", "could not be fetched: RemoteProtocolError"),
    ],
)
async def test_a_file_that_cannot_be_fetched_is_told_without_its_address(store: Store, head: bytes, told: str) -> None:
    store.head = head
    store.content = CONTENT if b"20000" in head else b""
    with pytest.raises(GitHubUnreachable, match=told) as raised:
        await download(store.url, ASSET, io.BytesIO(), len(CONTENT))
    assert "a-signature" not in f"{raised.value!r} {raised.value.__cause__!r}"


async def test_a_file_at_an_address_that_nobody_can_ask_for_is_told_without_it(store: Store) -> None:
    url = SecretStr(f"{store.url.get_secret_value()}\x01")
    with pytest.raises(GitHubUnreachable, match="could not be fetched: InvalidURL") as raised:
        await download(url, ASSET, io.BytesIO(), len(CONTENT))
    assert "a-signature" not in f"{raised.value!r} {raised.value.__cause__!r}"
