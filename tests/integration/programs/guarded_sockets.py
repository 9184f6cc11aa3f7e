"""pytest-socket, which forbids tests the network: by its connect(), its class of sockets, and its getaddrinfo().

This file is the program, which runs pytest on itself, and the tests that pytest then finds in it.
"""

import asyncio
import contextlib
import io
import os
import socket
import tempfile

import common
import pytest

ALLOWED, FORBIDDEN = "127.0.0.1", "127.0.0.2"


async def echo(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()


async def ask(reader, writer):
    writer.write(b"question\n")
    assert await reader.readline() == b"question\n"
    writer.close()
    await writer.wait_closed()


def blocked(kind):
    import pytest_socket

    return pytest.raises(getattr(pytest_socket, kind))


async def on_tcp(host, *, refused):
    """Each way to connect to a server that is there."""
    loop = asyncio.get_running_loop()
    async with await asyncio.start_server(echo, host, 0) as server:
        address = server.sockets[0].getsockname()
        guard = blocked("SocketConnectBlockedError") if refused else contextlib.nullcontext()
        with guard:
            await ask(*await asyncio.open_connection(*address))
        with guard, socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
        with guard:
            transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=address)
            transport.close()
    await common.others_ended()


def test_allowed_host():
    asyncio.run(common.limited(lambda: on_tcp(ALLOWED, refused=False)))


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_forbidden_host():
    asyncio.run(common.limited(lambda: on_tcp(FORBIDDEN, refused=True)))


@pytest.mark.allow_hosts([FORBIDDEN])
def test_host_allowed_by_a_mark():
    asyncio.run(common.limited(lambda: on_tcp(FORBIDDEN, refused=False)))


@pytest.mark.disable_socket
@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_no_sockets_but_of_unix():
    async def main():
        with blocked("SocketBlockedError"):
            await asyncio.open_connection(ALLOWED, 1)
        with blocked("SocketBlockedError"):
            await asyncio.get_running_loop().getaddrinfo(ALLOWED, 1)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")
            async with await asyncio.start_unix_server(echo, path):
                await ask(*await asyncio.open_unix_connection(path))
        await common.others_ended()

    asyncio.run(common.limited(main))


@pytest.mark.enable_socket
def test_all_sockets():
    asyncio.run(common.limited(lambda: on_tcp(FORBIDDEN, refused=False)))


def main():
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    options = ["-p", "pytest_socket", f"--allow-hosts={ALLOWED}", "--allow-unix-socket"]
    # Not the settings and fixtures of this project, which keep this very plugin away, and uninstall our loop.
    options += [
        "-c",
        os.devnull,
        "--noconftest",
        "--rootdir",
        tempfile.gettempdir(),
        "-p",
        "no:cacheprovider",
        "-q",
    ]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = pytest.main([__file__, *options])
    assert status == 0 and "5 passed" in output.getvalue(), output.getvalue()
    print("passed")


if __name__ == "__main__":
    main()
