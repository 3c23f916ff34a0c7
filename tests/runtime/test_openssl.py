"""Python's OpenSSL stays out of a process until TLS is needed, and works then."""

import asyncio
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from meshwg.runtime.openssl import load_ssl, tls_failure
from tests.runtime.test_websocket import server_context

LEFT_OUT = """
import sys
from meshwg.runtime.openssl import leave_out_openssl, load_ssl
leave_out_openssl()
leave_out_openssl()
import asyncio, hashlib, hmac
print("_ssl" in sys.modules, "_hashlib" in sys.modules)
"""
HASHES = """
key, text = b"k" * 20, b"text"
print(hmac.digest(key, text, "sha1").hex())
print(hmac.new(key, text, hashlib.blake2s).hexdigest())
print(hashlib.md5(text).hexdigest(), hashlib.sha256(text).hexdigest())
"""
TALK = """
from meshwg.runtime.stream import reason_of, _tls
async def talk(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=_tls())
    writer.write(b"sealed")
    print((await reader.readexactly(6)).decode())
    writer.close()
try:
    asyncio.run(talk(int(sys.argv[1])))
except OSError as error:
    print(reason_of(error)[:10])
print("_ssl" in sys.modules)
"""
AFTERWARDS = """
import ssl
from meshwg.runtime.openssl import leave_out_openssl
leave_out_openssl()
import _hashlib
print("there")
"""


def test_asyncio_and_hashes_work_without_it() -> None:
    with_it = "import hashlib, hmac" + HASHES

    assert shown(LEFT_OUT + HASHES) == ["False False", *shown(with_it)]


@pytest.mark.parametrize("is_tls", [True, False], ids=["tls", "no-tls"])
async def test_it_is_there_with_the_first_tls_connection(
    is_tls: bool, tmp_path: Path
) -> None:
    context = server_context(tmp_path) if is_tls else None
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        lines = await asyncio.to_thread(shown, LEFT_OUT + TALK, str(port))

    assert lines == ["False False", "sealed" if is_tls else "TLS failed", "True"]


def test_a_process_that_has_it_keeps_it() -> None:
    assert shown(AFTERWARDS) == ["there"]
    assert load_ssl() is ssl


def test_only_failures_of_tls_are_said_to_be_some() -> None:
    assert tls_failure(ConnectionRefusedError()) is None
    assert tls_failure(ssl.SSLError("something")) is not None


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    data = await reader.read(6)
    writer.write(data if data == b"sealed" else b"no TLS here")
    writer.close()


def shown(program: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()
