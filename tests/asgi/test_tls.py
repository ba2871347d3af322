"""TLS in the process: rows 2 and 3 of the catalogue, and what is wrong with files."""

import asyncio
import shutil
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from websockets.asyncio.client import connect

from receiver.asgi.tls import Certificate, server_context
from receiver.errors import ConfigError

FILES = Path(__file__).with_name("tls")
CERTIFICATE, KEY = FILES / "certificate.pem", FILES / "key.pem"
TLS = {"certificate": str(CERTIFICATE), "key": str(KEY)}
STOP = '{"event":"stop","sequenceNumber":"3"}'
HANDSHAKE, ALERT = 22, 21
LOOPS: dict[str, Any] = {"asyncio": None, "uvloop": uvloop.new_event_loop}
PROTOCOL_VERSION = 70


def client() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


def client_hello() -> bytes:
    """The first bytes of a client that means it."""
    arriving, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client().wrap_bio(arriving, leaving, server_hostname="localhost").do_handshake()
    return leaving.read()


def old_hello(minor: int) -> bytes:
    """A ClientHello of TLS 1.0 (1) or 1.1 (2), with two suites of its time: RFC 4346, section 7.4.1.2."""
    body = bytes([3, minor]) + bytes(range(32)) + b"\0" + b"\0\x04\x00\x2f\xc0\x09" + b"\x01\0"
    message = b"\x01" + len(body).to_bytes(3) + body
    return bytes([HANDSHAKE, 3, 1]) + len(message).to_bytes(2) + message


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.blocks  # OpenSSL reads the client's copy of the certificate
def test_a_stream_over_tls_is_received_and_closed(
    running: Callable[..., Any], hello: Callable[..., Any], loop: str
) -> None:
    async def main() -> None:
        async with running(server={"tls": TLS}) as server:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                context = client()
                context.maximum_version = version
                url = f"wss://localhost:{server.public.rpartition(':')[2]}/stream"
                headers = {"Authorization": "Bearer a-token-of-the-tests"}
                async with connect(url, additional_headers=headers, ssl=context, proxy=None, compression=None) as ws:
                    await hello(ws)
                    await ws.send(STOP)
            async with asyncio.timeout(20):
                while len(list(server.root.glob("*/*/stream.json"))) < 2:
                    await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())


async def exchange(address: str, sent: bytes) -> bytes:
    """What comes back until the server closes."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(sent)
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_row_2_a_client_hello_alone_is_closed_in_time(running: Callable[..., Any], loop: str) -> None:
    async def main() -> None:
        async with running(server={"tls": TLS}, limits={"open_timeout_s": 0.3}) as server:
            for sent in (client_hello(), client_hello()[:20], b""):
                try:
                    answered = await exchange(server.public, sent)
                except ConnectionResetError:  # closed all the same
                    continue
                assert answered[:1] in (b"", bytes([HANDSHAKE]))

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("minor", [1, 2])
def test_row_3_tls_before_1_2_is_refused(running: Callable[..., Any], minor: int, loop: str) -> None:
    """OpenSSL has an alert for it, which neither loop sends before it closes."""

    async def main() -> None:
        async with running(server={"tls": TLS}) as server:
            try:
                answered = await exchange(server.public, old_hello(minor))
            except ConnectionResetError:
                return
            assert answered == b"" or (answered[0], answered[-1]) == (ALERT, PROTOCOL_VERSION)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())


@pytest.mark.blocks
def test_over_tls_a_bad_request_is_answered_and_a_silent_peer_is_closed(running: Callable[..., Any]) -> None:
    async def main() -> None:
        async with running(server={"tls": TLS}, limits={"open_timeout_s": 0.5}) as server:
            host, _, port = server.public.rpartition(":")
            for sent, status in ((b"\0", b" 400 "), (b"GET", b" 408 "), (b"", b"")):
                reader, writer = await asyncio.open_connection(
                    host, int(port), ssl=client(), server_hostname="localhost"
                )
                writer.write(sent)
                async with asyncio.timeout(20):
                    try:
                        assert status in await reader.read()
                    except (ConnectionError, ssl.SSLError):
                        assert not status
                writer.transport.abort()
            assert await exchange(server.public, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") == b""

    asyncio.run(main())


@pytest.mark.blocks
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_over_tls_there_are_no_figures_and_no_word_about_what_runs_here(
    running: Callable[..., Any], version: ssl.TLSVersion
) -> None:
    async def main() -> None:
        context = client()
        context.minimum_version = context.maximum_version = version
        async with running(server={"tls": TLS}) as server:
            host, _, port = server.public.rpartition(":")
            for path, status in (("/metrics", 404), ("/api/streams", 404), ("/debug", 404), ("/livez", 200)):
                reader, writer = await asyncio.open_connection(
                    host, int(port), ssl=context, server_hostname="localhost"
                )
                writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                async with asyncio.timeout(20):
                    head = (await reader.read()).partition(b"\r\n\r\n")[0].lower()
                assert head.startswith(b"http/1.1 %d " % status), path
                assert b"\r\nserver:" not in head and b"uvicorn" not in head
                writer.transport.abort()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("certificate", "key", "named", "problem"),
    [
        ("missing.pem", "key.pem", "certificate", "cannot be read: No such file or directory"),
        ("certificate.pem", "missing.pem", "key", "cannot be read: No such file or directory"),
        (".", "key.pem", "certificate", "cannot be read: Is a directory"),
        ("key.pem", "key.pem", "certificate", "holds no certificate in PEM"),
        ("README.md", "key.pem", "certificate", "holds no certificate in PEM"),
        ("certificate.pem", "certificate.pem", "key", "holds no private key without a password in PEM"),
        ("certificate.pem", "README.md", "key", "holds no private key without a password in PEM"),
        ("certificate.pem", "locked_key.pem", "key", "holds no private key without a password in PEM"),
        ("certificate.pem", "other_key.pem", "key", "is not the key of server.tls.certificate"),
    ],
)
def test_files_that_cannot_be_used_are_named(certificate: str, key: str, named: str, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        server_context(FILES / certificate, FILES / key)
    assert (refused.value.key, refused.value.problem) == (f"server.tls.{named}", problem)


def test_a_certificate_that_is_not_there_stops_the_start(running: Callable[..., Any]) -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match=r"server\.tls\.certificate"):
            async with running(server={"tls": {"certificate": "missing.pem", "key": "missing.pem"}}):
                pass

    asyncio.run(main())


def shown(public: str) -> set[bytes | None]:
    """The certificates that somebody new is shown, by name and without one: one, but in the moment of a change."""
    host, _, port = public.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    seen = set()
    for name in ("localhost", None):
        with socket.create_connection((host, int(port)), timeout=20) as plain:
            with context.wrap_socket(plain, server_hostname=name) as secure:
                seen.add(secure.getpeercert(binary_form=True))
    return seen


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.blocks  # OpenSSL reads the client's copy of the certificate, and files are copied
def test_a_renewed_certificate_counts_from_then_on_and_cuts_no_stream(
    running: Callable[..., Any], hello: Callable[..., Any], loop: str, tmp_path: Path, capture_logs: Any
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    shutil.copy(CERTIFICATE, certificate)
    shutil.copy(KEY, key)
    first, second = [
        ssl.PEM_cert_to_DER_cert((FILES / f"{name}.pem").read_text()) for name in ("certificate", "renewed_certificate")
    ]

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(condition):
                await asyncio.sleep(0.05)

    async def main(logs: list[dict[str, Any]]) -> None:
        async with running(server={"tls": {"certificate": str(certificate), "key": str(key)}}) as server:
            url = f"wss://localhost:{server.public.rpartition(':')[2]}/stream"
            headers = {"Authorization": "Bearer a-token-of-the-tests"}
            async with connect(url, additional_headers=headers, ssl=client(), proxy=None, compression=None) as ws:
                await hello(ws)
                assert await asyncio.to_thread(shown, server.public) == {first}
                shutil.copy(FILES / "renewed_certificate.pem", certificate)  # without its key: not yet
                await until(lambda: any(line["event"] == "certificate_kept" for line in logs))
                assert await asyncio.to_thread(shown, server.public) == {first}
                key.unlink()
                await asyncio.sleep(0)
                shutil.copy(FILES / "renewed_key.pem", key)
                await until(lambda: shown(server.public) == {second})
                await ws.send(STOP)
            await until(lambda: len(list(server.root.glob("*/*/stream.json"))) == 1)

    with capture_logs() as logs, asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main(logs))
    assert [line["event"] for line in logs if line["logger"] == "receiver.tls"] == [
        "certificate_kept",
        "certificate_renewed",
    ]


def test_a_certificate_that_stays_without_its_key_is_told_of_once(tmp_path: Path, capture_logs: Any) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    shutil.copy(CERTIFICATE, certificate)
    shutil.copy(KEY, key)
    kept = Certificate(certificate, key)
    shutil.copy(FILES / "renewed_certificate.pem", certificate)
    with capture_logs() as logs:
        kept.refresh()
        kept.refresh()
        shutil.copy(FILES / "renewed_key.pem", key)
        kept.refresh()
        kept.refresh()
    assert [line["event"] for line in logs] == ["certificate_kept", "certificate_renewed"]


def test_the_context_is_of_tls_1_2_and_newer() -> None:
    context = server_context(CERTIFICATE, KEY)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION
