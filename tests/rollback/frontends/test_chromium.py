"""A browser, by a program in its place: it prints what Chromium 156 does, its log and then the page."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import wait_until_gone

from rollback.errors import BrowserUnusable
from rollback.frontends import chromium
from rollback.frontends.chromium import Seen, look
from rollback.redaction import BLACK

URL = "https://fundrbolt.com/"
PAGE = """<!DOCTYPE html>
<html><head><title>Fundrbolt</title><style>p { color: red }</style></head><body><div id="root">Donations &amp;
  more</div>
<script>fetch("/api").catch(() => show("ERR_NETWORK in <html lang=en>"))</script></body></html>
"""
NOISE = """\
[9567:9596:1123/041110.088438:ERROR:dbus/bus.cc:405] Failed to connect to the bus: Failed to connect to socket /run
[9628:9628:1123/041110.527234:WARNING:media/gpu/vaapi/vaapi_wrapper.cc:1655] drmGetDevices2() has not found any devices
"""
SAID = "[9567:9567:1123/041111.236004:INFO:CONSOLE:2] "
AUTHORITY = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
Install = Callable[[str, str], Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a program on the PATH, on which nothing else is; its arguments and input are noted beside it."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    for name in ("SSL_CERT_FILE", "HTTPS_PROXY", "NO_PROXY", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    def made(name: str, body: str) -> Path:
        program, called = programs / name, tmp_path / f"{name}.calls"
        noted = "[sys.argv[1:], '' if 'chrom' in sys.argv[0] else sys.stdin.read(), dict(os.environ)]"
        program.write_text(
            f"#!{sys.executable} -SE\nimport json, os, sys, subprocess, time\n"
            f"open({str(called)!r}, 'a').write(json.dumps({noted}) + '\\n')\n{body}\n"
        )
        program.chmod(0o755)
        return called

    return made


def calls(file: Path) -> list[tuple[list[str], str, dict[str, str]]]:
    return [tuple(json.loads(line)) for line in file.read_text().splitlines()]


def printing(log: str = "", page: str = PAGE) -> str:
    return f"sys.stderr.write({NOISE + log!r}); sys.stderr.flush(); sys.stdout.write({page!r})"


async def seen(install: Install, log: str = "", page: str = PAGE) -> Seen:
    install("chromium", printing(log, page))
    return await look(URL)


async def test_what_the_page_shows_is_told_without_its_scripts_and_the_browsers_log(install: Install) -> None:
    assert await seen(install) == Seen(text="Fundrbolt Donations & more", errors=())


async def test_a_page_without_a_doctype_and_log_lines_after_it_change_nothing(install: Install) -> None:
    page = f"<html><head></head><body>Donations</body></html>\n{NOISE}"
    assert await seen(install, page=page) == Seen(text="Donations", errors=())


async def test_what_the_console_complains_of_is_told_once_and_blackened(install: Install) -> None:
    log = (
        f'{SAID}"a plain line", source: {URL} (2)\n'
        f'{SAID}"call failed Failed to fetch", source: {URL}app.js (3)\n'
        f'{SAID}"call failed Failed to fetch", source: {URL}app.js (3)\n'
        f'{SAID}"Uncaught Error: no token=hunter2-hunter2", source: {URL} (4)\n'
        f'{SAID}"Failed to load module script: a MIME type of "text/html". Strict", source: {URL}app.js (0)\n'
    )
    found = await seen(install, log)
    assert found.text == "Fundrbolt Donations & more"
    assert found.errors == (
        f"call failed Failed to fetch ({URL}app.js)",
        f"Uncaught Error: no {BLACK} ({URL})",
        f'Failed to load module script: a MIME type of "text/html". Strict ({URL}app.js)',
    )


async def test_a_complaint_of_several_lines_is_told_whole_and_is_no_page(install: Install) -> None:
    log = f'{SAID}"Error in\n<html>\n  at root", source: {URL} (2)\n{SAID}"fine", source: {URL} (3)\n'
    found = await seen(install, log)
    assert found == Seen(text="Fundrbolt Donations & more", errors=(f"Error in <html> at root ({URL})",))


async def test_a_complaint_without_an_end_does_not_swallow_the_next(install: Install) -> None:
    log = f'{SAID}"Error that was cut\n{SAID}"Error two", source: {URL} (3)\n'
    assert (await seen(install, log)).errors == (f"Error two ({URL})",)


async def test_no_more_complaints_are_told_than_people_read(install: Install) -> None:
    log = "".join(f'{SAID}"Error {n} {"x" * 1000}", source: {URL} ({n})\n' for n in range(9))
    errors = (await seen(install, log)).errors
    assert [each[:7] for each in errors] == [f"Error {n}" for n in range(5)]
    assert all(len(each) == 300 for each in errors)


@pytest.mark.parametrize("why", ["ERR_CERT_AUTHORITY_INVALID", "ERR_CONNECTION_REFUSED", "ERR_NAME_NOT_RESOLVED"])
async def test_a_page_that_cannot_be_opened_is_no_page(install: Install, why: str) -> None:
    log = (
        "[9754:9754:1123/041112.491347:ERROR:components/headless/command_handler/headless_command_handler.cc:403] "
        f"Page load failed: net::{why}\n"
    )
    with pytest.raises(BrowserUnusable, match=rf"could not open the page \({why}\)"):
        await seen(install, log, page="\n")


async def test_a_machine_without_a_browser_is_told(install: Install) -> None:
    with pytest.raises(BrowserUnusable, match="there is none on this machine"):
        await look(URL)


async def test_any_of_the_usual_browsers_does(install: Install) -> None:
    install("google-chrome", printing())
    assert (await look(URL)).errors == ()


async def test_a_browser_that_fails_is_told_with_its_status(install: Install) -> None:
    install("chromium", f"{printing()}; sys.exit(21)")
    with pytest.raises(BrowserUnusable, match="it ended with status 21"):
        await look(URL)


async def test_a_browser_that_cannot_be_started_is_told(install: Install) -> None:
    program = install("chromium", "").parent / "programs" / "chromium"
    program.write_text("#!/nowhere/python\n")
    with pytest.raises(BrowserUnusable, match="cannot be started"):
        await look(URL)


async def test_a_browser_that_hangs_is_ended_with_its_children_and_leaves_no_folder(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    child, timers, genuine = tmp_path / "child", list[asyncio.Timeout](), asyncio.timeout
    os.mkfifo(child)
    monkeypatch.setattr(asyncio, "timeout", lambda seconds: timers.append(genuine(seconds)) or timers[-1])
    sleeping = "child = subprocess.Popen(['/bin/sleep', '300'])"
    install("chromium", f"{sleeping}; open({str(child)!r}, 'w').write(str(child.pid)); child.wait()")
    looking = asyncio.create_task(look(URL))
    pid = int(await asyncio.to_thread(child.read_text))
    timers[0].reschedule(0)  # its time is over
    with pytest.raises(BrowserUnusable, match="did not end within 40 s"):
        await looking
    assert list((tmp_path / "temporary").iterdir()) == []
    await asyncio.to_thread(wait_until_gone, pid)


async def test_a_flood_of_output_is_cut_and_not_kept(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chromium, "MOST_BYTES", 10_000)
    assert len((await seen(install, page="<html>" + "flood " * 100_000)).text) < 10_000


async def test_it_is_started_with_a_home_of_its_own_and_none_of_our_credentials(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "of-the-operator")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.org:3128")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    called = install("chromium", printing())
    await look(URL)
    ((arguments, _, environment),) = calls(called)
    assert arguments[-1] == URL
    assert "--proxy-server=http://proxy.example.org:3128" in arguments
    assert f"--user-data-dir={environment['HOME']}/profile" in arguments
    assert not {"--no-sandbox", "--ignore-certificate-errors"} & {*arguments}
    assert "of-the-operator" not in json.dumps(environment)
    assert not await asyncio.to_thread(Path(environment["HOME"]).exists)


async def test_a_proxy_in_lower_case_letters_is_used_too(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example.org:3128")
    monkeypatch.setenv("no_proxy", "10.0.0.0/8")
    called = install("chromium", printing())
    await look(URL)
    ((arguments, _, environment),) = calls(called)
    assert "--proxy-server=http://proxy.example.org:3128" in arguments
    assert environment["no_proxy"] == "10.0.0.0/8"


async def test_a_proxy_with_a_password_is_on_no_command_line(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://operator:hunter2-hunter2@proxy.example.org:3128")
    called = install("chromium", printing())
    with pytest.raises(BrowserUnusable, match="cannot be told the proxy's user and password") as raised:
        await look(URL)
    assert "hunter2" not in str(raised.value)
    assert not await asyncio.to_thread(called.exists)


async def test_what_is_reached_without_the_proxy_is_told_to_the_browser(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.org:3128")
    monkeypatch.setenv("NO_PROXY", "fundrbolt.com, .example.org,10.0.0.0/8,127.0.0.1,")
    called = install("chromium", printing())
    await look(URL)
    ((arguments, _, _),) = calls(called)
    assert "--proxy-bypass-list=fundrbolt.com;*.fundrbolt.com;*.example.org;10.0.0.0/8;127.0.0.1" in arguments


async def test_as_root_it_runs_without_a_sandbox_of_its_own(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    called = install("chromium", printing())
    await look(URL)
    assert "--no-sandbox" in calls(called)[0][0]


def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    (tmp_path / "authorities.pem").write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authorities.pem"))


async def test_authorities_of_ones_own_need_certutil(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(tmp_path, monkeypatch, AUTHORITY)
    with pytest.raises(BrowserUnusable, match=r"certutil \(Debian: libnss3-tools\) is needed"):
        await seen(install)


async def test_authorities_of_ones_own_are_told_to_the_browser_before_it_starts(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(tmp_path, monkeypatch, f"# ours\n{AUTHORITY}# theirs\n{AUTHORITY.replace('MIIB', 'MIIC')}")
    told = install("certutil", "")
    called = install("chromium", printing())
    await look(URL)
    home = calls(called)[0][2]["HOME"]
    assert [(arguments, given) for arguments, given, _ in calls(told)] == [
        (["-d", f"sql:{home}/.pki/nssdb", "-N", "--empty-password"], ""),
        (["-d", f"sql:{home}/.pki/nssdb", "-A", "-n", "own-0", "-t", "C,,"], AUTHORITY.strip()),
        (["-d", f"sql:{home}/.pki/nssdb", "-A", "-n", "own-1", "-t", "C,,"], AUTHORITY.replace("B\n", "C\n").strip()),
    ]


async def test_an_authority_that_certutil_refuses_is_told(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(tmp_path, monkeypatch, AUTHORITY)
    install("certutil", "sys.exit(255)")
    with pytest.raises(BrowserUnusable, match=r"SSL_CERT_FILE \(certutil: 255\)"):
        await seen(install)


async def test_a_systems_own_bundle_needs_no_certutil(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(tmp_path, monkeypatch, AUTHORITY * 11)
    assert (await seen(install)).errors == ()


async def test_a_bundle_that_cannot_be_read_is_told(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "away.pem"))
    with pytest.raises(BrowserUnusable, match=r"SSL_CERT_FILE cannot be read"):
        await seen(install)
