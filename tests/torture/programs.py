"""What both is tortured and meets failing system calls: sockets, and coroutines that use them and know what has to come of it."""

import contextlib
import socket


@contextlib.contextmanager
def udp_pair():
    """Two non-blocking UDP sockets on the loopback address."""
    kind = socket.AF_INET, socket.SOCK_DGRAM
    with socket.socket(*kind) as ours, socket.socket(*kind) as theirs:
        for sock in (ours, theirs):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        yield ours, theirs


async def exchange_datagrams(impl, loop, ours, theirs):
    receiving = loop.create_task(loop.sock_recvfrom(ours, 100))
    await impl.sleep(0)
    assert await loop.sock_sendto(theirs, b"x", ours.getsockname()) == 1
    assert await receiving == (b"x", theirs.getsockname())
    receiving = loop.create_task(loop.sock_recvfrom_into(ours, bytearray(10)))
    await impl.sleep(0)
    await loop.sock_sendto(theirs, b"yz", ours.getsockname())
    assert (await receiving)[0] == 2


@contextlib.contextmanager
def listener_and_client():
    """A listening socket and one to connect, non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        listener.setblocking(False)
        client.setblocking(False)
        yield listener, client


async def accept_and_connect(loop, listener, client):
    accepting = loop.create_task(loop.sock_accept(listener))
    await loop.sock_connect(client, listener.getsockname())
    (await accepting)[0].close()
