"""The sock_* coroutines, on sockets that are ready at once and on sockets that are not."""

import asyncio
import contextlib
import os
import socket
import ssl

import pytest

from .. import support
from . import peers
from .peers import SMALL, Peer, Recorder, turns


@pytest.fixture
def pair(loop, family):
    """`(sock, peer)`: a non-blocking socket with small buffers, and its peer."""
    ours, theirs = peers.socket_pair(family, ours_sndbuf=SMALL, theirs_rcvbuf=SMALL)
    with ours, Peer(theirs) as peer:
        yield ours, peer


@pytest.fixture
def udp():
    """Two UDP sockets on the loopback address, not connected, non-blocking."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(2)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        yield sockets


@pytest.fixture
def listener():
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        listener.setblocking(False)
        yield listener


@pytest.fixture
def client():
    with socket.socket() as client:
        client.setblocking(False)
        yield client


async def started(coroutine):
    """Return a task that waits for its socket by now."""
    task = asyncio.ensure_future(coroutine)
    await turns(3)
    assert not task.done()
    return task


async def cancelled(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# ---- sock_recv, sock_recv_into ----


@pytest.mark.whole_calls
async def test_recv_at_once(loop, pair):
    sock, peer = pair
    peer.send(b"abcdef")
    assert await loop.sock_recv(sock, 4) == b"abcd"
    assert await loop.sock_recv(sock, 100) == b"ef"


@pytest.mark.whole_calls
async def test_recv_that_is_ready_does_not_suspend(loop, pair):
    sock, peer = pair
    peer.send(b"x")
    order = []
    loop.call_soon(order.append, "soon")
    await loop.sock_recv(sock, 1)
    order.append("received")
    await turns(1)
    assert order == ["received", "soon"]


@pytest.mark.whole_calls
async def test_recv_later(loop, pair):
    sock, peer = pair
    task = await started(loop.sock_recv(sock, 100))
    peer.send(b"later")
    received = await task
    assert received == b"later" and type(received) is bytes


async def test_recv_of_zero_bytes(loop, pair):
    sock, peer = pair
    peer.send(b"x")
    assert await loop.sock_recv(sock, 0) == b""
    assert await loop.sock_recv(sock, 1) == b"x"


async def test_recv_of_the_end(loop, pair):
    sock, peer = pair
    task = await started(loop.sock_recv(sock, 100))
    peer.close()
    assert await task == b""
    assert await loop.sock_recv(sock, 100) == b""


@pytest.mark.parametrize("family", ("tcp",), indirect=True)
async def test_recv_of_a_reset(loop, pair):
    sock, peer = pair
    task = await started(loop.sock_recv(sock, 100))
    peer.reset()
    with pytest.raises(ConnectionResetError):
        await task


async def test_recv_of_much(loop, pair):
    sock, peer = pair
    data = peers.payload(2 << 20)
    sending = asyncio.ensure_future(peer.send_all(data))
    received = bytearray()
    while len(received) < len(data):
        received += await loop.sock_recv(sock, 1 << 20)
    await sending
    assert peers.digest(received) == peers.digest(data)


@pytest.mark.parametrize("size", (-1, "x", None))
async def test_recv_with_a_wrong_size(loop, pair, size):
    sock, peer = pair
    with pytest.raises(ValueError if size == -1 else TypeError) as native:
        sock.recv(size)
    with pytest.raises(native.type):
        await loop.sock_recv(sock, size)


@pytest.mark.whole_calls
async def test_recv_into(loop, pair):
    sock, peer = pair
    buffer = bytearray(b"-" * 8)
    peer.send(b"abc")
    assert await loop.sock_recv_into(sock, buffer) == 3
    assert buffer == b"abc-----"
    task = await started(loop.sock_recv_into(sock, memoryview(buffer)[4:]))
    peer.send(b"0123456789")
    assert await task == 4
    assert buffer == b"abc-0123"
    assert await loop.sock_recv_into(sock, buffer) == 6
    peer.close()
    assert await loop.sock_recv_into(sock, buffer) == 0


async def test_recv_into_wrong_buffers(loop, pair):
    sock, peer = pair
    peer.send(b"x")
    for wrong in (b"constant", None, 5):
        with pytest.raises(TypeError):
            await loop.sock_recv_into(sock, wrong)
    assert await loop.sock_recv(sock, 1) == b"x"


async def test_buffer_is_released(loop, pair):
    """A bytearray that was received into can be resized, whether the wait ended by data or by cancellation."""
    sock, peer = pair
    buffer = bytearray(4)
    task = await started(loop.sock_recv_into(sock, buffer))
    peer.send(b"x")
    await task
    del task
    buffer += b"longer"
    task = await started(loop.sock_recv_into(sock, buffer))
    await cancelled(task)
    del task
    await turns()
    buffer += b"and longer"


# ---- sock_recvfrom, sock_recvfrom_into, sock_sendto ----


async def test_recvfrom(loop, udp):
    left, right = udp
    left.sendto(b"one", right.getsockname())
    assert await loop.sock_recvfrom(right, 100) == (b"one", left.getsockname())
    task = await started(loop.sock_recvfrom(right, 2))
    left.sendto(b"two", right.getsockname())
    assert await task == (b"tw", left.getsockname()), "a datagram is cut to the size asked for"


async def test_recvfrom_of_an_empty_datagram(loop, udp):
    left, right = udp
    task = await started(loop.sock_recvfrom(right, 100))
    left.sendto(b"", right.getsockname())
    assert await task == (b"", left.getsockname())


async def test_recvfrom_into(loop, udp):
    left, right = udp
    buffer = bytearray(8)
    left.sendto(b"one", right.getsockname())
    assert await loop.sock_recvfrom_into(right, buffer) == (3, left.getsockname())
    assert buffer[:3] == b"one"
    task = await started(loop.sock_recvfrom_into(right, buffer, 2))
    left.sendto(b"two", right.getsockname())
    assert await task == (2, left.getsockname())
    assert buffer[:3] == b"twe"


async def test_sendto(loop, udp):
    left, right = udp
    assert await loop.sock_sendto(left, b"datagram", right.getsockname()) == 8
    assert await loop.sock_recvfrom(right, 100) == (b"datagram", left.getsockname())
    assert await loop.sock_sendto(left, b"", right.getsockname()) == 0
    assert await loop.sock_recvfrom(right, 100) == (b"", left.getsockname())


async def test_sendto_errors(loop, udp):
    left, right = udp
    with pytest.raises(OSError) as caught:
        await loop.sock_sendto(left, bytes(70_000), right.getsockname())
    assert caught.value.errno == 90  # EMSGSIZE
    with pytest.raises(TypeError):
        await loop.sock_sendto(left, "text", right.getsockname())
    with pytest.raises(TypeError):
        await loop.sock_sendto(left, b"x", "no address")


async def test_unix_datagrams_that_have_to_wait(loop):
    """A Unix datagram socket blocks its senders while the queue of the receiver is full."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as named:
        named.bind(f"\0asyncio_c-test-{os.getpid()}")
        address = named.getsockname()
        named.setblocking(False)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sent = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    sender.sendto(b"%d" % sent, address)
                    sent += 1
            task = await started(loop.sock_sendto(sender, b"waited", address))
            for i in range(sent):
                assert await loop.sock_recv(named, 100) == b"%d" % i
            assert await task == 6
            assert await loop.sock_recv(named, 100) == b"waited"


# ---- sock_sendall ----


@pytest.mark.parametrize("kind", (bytes, bytearray, memoryview))
async def test_sendall(loop, pair, kind):
    sock, peer = pair
    assert await loop.sock_sendall(sock, kind(b"at once")) is None
    assert await peer.read(7) == b"at once"
    data = peers.payload(1 << 20)
    task = await started(loop.sock_sendall(sock, kind(data)))
    assert peers.digest(await peer.read(len(data))) == peers.digest(data)
    assert await task is None


async def test_sendall_of_nothing(loop, pair):
    sock, peer = pair
    assert await loop.sock_sendall(sock, b"") is None
    with pytest.raises(TypeError):
        await loop.sock_sendall(sock, "text")


async def test_sendall_of_a_view_of_larger_items(impl, loop, pair):
    """It counts bytes, not items."""
    if not impl.native_loop:
        pytest.skip("asyncio takes the bytes sent for items, and tries for ever to send what is left")
    sock, peer = pair
    data = peers.payload(1 << 18)
    for sent in (data[:8], data):  # at once, and in pieces
        task = asyncio.ensure_future(loop.sock_sendall(sock, memoryview(sent).cast("I")))
        assert peers.digest(await peer.read(len(sent))) == peers.digest(sent)
        assert await task is None


async def test_sendall_to_a_peer_that_left(loop, pair):
    sock, peer = pair
    task = await started(loop.sock_sendall(sock, bytes(1 << 20)))
    if sock.family == socket.AF_INET:
        peer.reset()
    else:
        peer.close()
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await task
    with pytest.raises(BrokenPipeError):
        await loop.sock_sendall(sock, b"x")


async def test_sendall_both_ways_at_once(loop, pair):
    """Reading and writing on one socket do not disturb each other."""
    sock, peer = pair
    data = peers.payload(500_000)
    receiving = await started(loop.sock_recv(sock, 100))
    sending = await started(loop.sock_sendall(sock, data))
    peer.send(b"x")
    assert await receiving == b"x"
    assert not sending.done()
    receiving = await started(loop.sock_recv(sock, 100))
    assert peers.digest(await peer.read(len(data))) == peers.digest(data)
    await sending
    peer.send(b"y")
    assert await receiving == b"y"


# ---- Cancellation ----


@pytest.mark.whole_calls
async def test_cancelled_recv_loses_nothing(loop, pair):
    sock, peer = pair
    for _ in range(3):
        await cancelled(await started(loop.sock_recv(sock, 100)))
    peer.send(b"kept")
    assert await loop.sock_recv(sock, 100) == b"kept"


@pytest.mark.whole_calls
async def test_recv_cancelled_as_data_comes(loop, pair):
    """The data stays in the socket, or is returned: it is never lost."""
    sock, peer = pair
    task = await started(loop.sock_recv(sock, 100))
    peer.send(b"kept")
    await cancelled(task)
    assert await loop.sock_recv(sock, 100) == b"kept"


async def test_cancelled_waits_leave_no_watch(loop, pair):
    sock, peer = pair
    await cancelled(await started(loop.sock_recv(sock, 100)))
    assert loop.remove_reader(sock) is False
    await cancelled(await started(loop.sock_sendall(sock, bytes(1 << 20))))
    assert loop.remove_writer(sock) is False


async def test_finished_waits_leave_no_watch(loop, pair):
    sock, peer = pair
    task = await started(loop.sock_recv(sock, 100))
    peer.send(b"x")
    await task
    await turns()
    assert loop.remove_reader(sock) is False


@pytest.mark.whole_calls
async def test_cancelled_recv_into_writes_no_more(loop, pair):
    sock, peer = pair
    buffer = bytearray(b"untouched")
    await cancelled(await started(loop.sock_recv_into(sock, buffer)))
    peer.send(b"XXXX")
    assert await loop.sock_recv(sock, 100) == b"XXXX"
    assert buffer == b"untouched"


async def test_recv_under_a_timeout(loop, pair):
    sock, peer = pair
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(loop.sock_recv(sock, 1), 0.001)
    peer.send(b"x")
    assert await asyncio.wait_for(loop.sock_recv(sock, 1), peers.GUARD_SECONDS) == b"x"


# ---- One descriptor, one waiter ----


async def test_second_reader_takes_the_place_of_the_first(loop, pair):
    sock, peer = pair
    first = await started(loop.sock_recv(sock, 1))
    second = await started(loop.sock_recv(sock, 1))
    peer.send(b"ab")
    assert await second == b"a"
    await turns(5)
    assert not first.done(), "the first lost its watch"
    await cancelled(first)
    assert await loop.sock_recv(sock, 1) == b"b"


async def test_cancelling_the_first_does_not_disturb_the_second(loop, pair):
    sock, peer = pair
    first = await started(loop.sock_recv(sock, 1))
    second = await started(loop.sock_recv(sock, 1))
    await cancelled(first)
    await turns(3)
    peer.send(b"a")
    assert await second == b"a"


async def test_two_loops_wait_for_one_socket(loop, impl, pair):
    """Both see that it is ready; one of them gets the byte."""
    sock, peer = pair
    other = impl.new_event_loop()

    def in_other_loop():
        try:
            return other.run_until_complete(other.sock_recv(sock, 1))
        finally:
            other.close()

    mine = await started(loop.sock_recv(sock, 1))
    theirs = asyncio.ensure_future(peers.in_thread(in_other_loop))
    peer.send(b"a")
    done, pending = await asyncio.wait([mine, theirs], return_when=asyncio.FIRST_COMPLETED)
    peer.send(b"b")
    assert sorted([await mine, await theirs]) == [b"a", b"b"]


async def test_socket_closed_while_waiting(loop, pair):
    """Nothing is told to the waiter, as in asyncio; it can be cancelled, and the number used for another socket."""
    sock, peer = pair
    fd = sock.fileno()
    task = await started(loop.sock_recv(sock, 1))
    sock.close()
    await turns(5)
    assert not task.done()
    left, right = socket.socketpair()
    with left, right:
        await cancelled(task)
        reused = left if left.fileno() == fd else right
        other = right if reused is left else left
        assert reused.fileno() == fd
        reused.setblocking(False)
        other.send(b"!")
        assert await loop.sock_recv(reused, 1) == b"!"
        task = await started(loop.sock_recv(reused, 1))
        other.send(b"?")
        assert await task == b"?"


async def test_closed_socket(loop, pair):
    sock, peer = pair
    sock.close()
    for coroutine in (loop.sock_recv(sock, 1), loop.sock_sendall(sock, b"x"), loop.sock_accept(sock)):
        with pytest.raises(OSError) as caught:
            await coroutine
        assert caught.value.errno == 9  # EBADF


# ---- sock_connect ----


async def test_connect(loop, listener, client):
    assert await loop.sock_connect(client, listener.getsockname()) is None
    conn, address = listener.accept()
    with conn:
        assert address == client.getsockname()


async def test_connect_refused(loop, listener, client):
    address = listener.getsockname()
    listener.close()
    with pytest.raises(ConnectionRefusedError) as caught:
        await loop.sock_connect(client, address)
    assert caught.value.errno == 111
    assert str(caught.value) == f"[Errno 111] Connect call failed {address}"
    assert loop.remove_writer(client) is False


async def test_connect_to_an_absent_unix_socket(loop, tmp_path):
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        with pytest.raises(FileNotFoundError):
            await loop.sock_connect(client, str(tmp_path / "absent"))


async def test_connect_to_a_unix_socket(loop, tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        listener.listen()
        client.setblocking(False)
        await loop.sock_connect(client, path)
        listener.accept()[0].close()


async def test_connect_resolves_names(loop, listener, client):
    await loop.sock_connect(client, ("localhost", listener.getsockname()[1]))
    listener.accept()[0].close()


@pytest.fixture
def full_listener():
    """The address of a listener whose queue is full, so that a connection to it stays under way."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        stack.enter_context(socket.create_connection(listener.getsockname()))
        yield listener.getsockname()


async def test_cancelled_connect(loop, full_listener, client):
    task = await started(loop.sock_connect(client, full_listener))
    await cancelled(task)
    assert loop.remove_writer(client) is False
    assert client.fileno() != -1, "whose socket it is closes it"


async def test_connect_of_a_connected_socket(loop, pair):
    sock, peer = pair
    if sock.family == socket.AF_INET:
        with pytest.raises(OSError) as caught:
            await loop.sock_connect(sock, peer.sock.getsockname())
        assert caught.value.errno == 106  # EISCONN


async def test_wrong_addresses(loop, client):
    for address, error in (
        (5, TypeError),
        (("127.0.0.1",), ValueError),
        (("127.0.0.1", 70_000), OverflowError),
    ):
        with pytest.raises(error):
            await loop.sock_connect(client, address)


# ---- sock_accept ----


async def test_accept(loop, listener):
    with socket.create_connection(listener.getsockname()) as peer:
        conn, address = await loop.sock_accept(listener)
        with conn:
            assert type(conn) is socket.socket
            assert address == peer.getsockname()
            assert conn.gettimeout() == 0
            assert conn.get_inheritable() is False


async def test_accept_later(loop, listener):
    task = await started(loop.sock_accept(listener))
    with socket.create_connection(listener.getsockname()) as peer:
        conn, address = await task
        conn.close()
        assert address == peer.getsockname()


async def test_cancelled_accept_loses_no_connection(loop, listener):
    task = await started(loop.sock_accept(listener))
    with socket.create_connection(listener.getsockname()) as peer:
        await cancelled(task)
        conn, address = await loop.sock_accept(listener)
        conn.close()
        assert address == peer.getsockname()


async def test_many_accepts(loop, listener):
    async def accept():
        return [await loop.sock_accept(listener) for _ in range(20)]

    task = asyncio.ensure_future(accept())
    peers_connected = []
    for _ in range(20):
        peers_connected.append(await peers.in_thread(socket.create_connection, listener.getsockname()))
    accepted = await task
    assert {address for _, address in accepted} == {peer.getsockname() for peer in peers_connected}
    for sock in [conn for conn, _ in accepted] + peers_connected:
        sock.close()


# ---- What all have in common ----


def everything(loop, sock):
    address = ("127.0.0.1", 1)
    return {
        "sock_recv": lambda: loop.sock_recv(sock, 1),
        "sock_recv_into": lambda: loop.sock_recv_into(sock, bytearray(1)),
        "sock_recvfrom": lambda: loop.sock_recvfrom(sock, 1),
        "sock_recvfrom_into": lambda: loop.sock_recvfrom_into(sock, bytearray(1)),
        "sock_sendall": lambda: loop.sock_sendall(sock, b"x"),
        "sock_sendto": lambda: loop.sock_sendto(sock, b"x", address),
        "sock_connect": lambda: loop.sock_connect(sock, address),
        "sock_accept": lambda: loop.sock_accept(sock),
    }


OPERATIONS = list(everything(None, None))


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_blocking_socket_in_debug_mode(loop, operation):
    loop.set_debug(True)
    loop.slow_callback_duration = 1000
    with socket.socket() as sock:
        with pytest.raises(ValueError) as caught:
            await everything(loop, sock)[operation]()
        assert str(caught.value) == "the socket must be non-blocking"
        sock.settimeout(5)
        with pytest.raises(ValueError):
            await everything(loop, sock)[operation]()


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_tls_socket(loop, operation):
    left, right = socket.socketpair()
    context = ssl.create_default_context()
    context.check_hostname = False
    with right, context.wrap_socket(left, do_handshake_on_connect=False) as sock:
        sock.setblocking(False)
        with pytest.raises(TypeError) as caught:
            await everything(loop, sock)[operation]()
        assert str(caught.value) == "Socket cannot be of type SSLSocket"


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_coroutines_that_are_awaited_later(loop, operation):
    """Nothing happens before the first await: a coroutine that is closed unused has done nothing."""
    with socket.socket() as sock:
        sock.setblocking(False)
        coroutine = everything(loop, sock)[operation]()
        assert asyncio.iscoroutine(coroutine)
        coroutine.close()
        with pytest.raises(OSError):
            sock.getpeername()


async def test_blocking_mode_is_left_alone(loop, pair):
    sock, peer = pair
    for timeout in (0, 5.0, None):
        sock.settimeout(timeout)
        peer.send(b"x")
        await loop.sock_recv(sock, 1)
        await loop.sock_sendall(sock, b"y")
        assert sock.gettimeout() == timeout


async def test_sockets_used_by_a_transport(loop, family):
    ours, theirs = peers.socket_pair(family)
    with Peer(theirs):
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        for coroutine in (loop.sock_recv(ours, 1), loop.sock_recv_into(ours, bytearray(1))):
            with pytest.raises(RuntimeError) as caught:
                await coroutine
            assert str(caught.value) == f"File descriptor {ours.fileno()} is used by transport {transport!r}"
        transport.close()
        await protocol.lost()


@pytest.mark.whole_calls
async def test_echo_by_many(loop, listener):
    """Fifty connections, each with its own coroutine, by sock_* alone."""

    async def serve(conn):
        with conn:
            while data := await loop.sock_recv(conn, 1000):
                await loop.sock_sendall(conn, data)

    async def serve_all():
        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                conn, _ = await loop.sock_accept(listener)
                group.create_task(serve(conn))

    async def ask(i):
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, listener.getsockname())
            for j in range(10):
                text = b"%d-%d" % (i, j)
                await loop.sock_sendall(sock, text)
                assert await loop.sock_recv(sock, 1000) == text

    serving = asyncio.ensure_future(serve_all())
    await asyncio.gather(*[ask(i) for i in range(50)])
    await serving


# ---- Sockets that live on under another descriptor ----


def number_taken_by(number, sock):
    """Return a socket object for `sock`, which is given away, with the descriptor `number`."""
    if sock.fileno() == number:
        return sock
    os.dup2(sock.fileno(), number, inheritable=False)
    family, kind = sock.family, sock.type
    sock.close()
    return socket.socket(family, kind, fileno=number)


async def received_once(loop, sock, peer):
    task = await started(loop.sock_recv(sock, 1))
    peer.send(b"x")
    assert await task == b"x"


async def test_a_duplicate_does_not_wake_the_next_owner_of_the_number(loop, pair):
    sock, peer = pair
    await received_once(loop, sock, peer)
    number, calls = sock.fileno(), []
    with sock.dup():
        sock.close()
        left, right = socket.socketpair()
        left.setblocking(False)
        with number_taken_by(number, left) as left, right:
            loop.add_reader(left, lambda: calls.append(left.recv(1)))
            peer.send(b"for the duplicate")
            await turns(100)
            right.send(b"y")
            while not calls:
                await turns(1)
            loop.remove_reader(left)
    assert calls == [b"y"]


@pytest.mark.whole_calls
def test_a_duplicate_does_not_keep_the_loop_from_waiting(loop, pair, tmp_path):
    """Not even if the number of another socket has become that of a regular file."""
    sock, peer = pair
    other, other_peer = socket.socketpair()
    fired = []

    async def use():
        other.setblocking(False)
        await received_once(loop, sock, peer)
        await received_once(loop, other, other_peer)

    with other_peer, sock.dup():
        loop.run_until_complete(use())
        sock.close()
        number = other.fileno()
        other.close()
        file = os.open(tmp_path, os.O_RDONLY)
        if file != number:
            os.dup2(file, number, inheritable=False)
            os.close(file)
        peer.send(b"for the duplicate")
        support.run_once(loop, 10)
        loop.call_later(0.001, fired.append, "timer")
        loop._run_once()
        os.close(number)
    assert fired == ["timer"], "the turn did not wait for the timer"


async def test_sendall_cancelled_after_the_socket_was_closed(loop, pair):
    sock, peer = pair
    await received_once(loop, sock, peer)
    task = await started(loop.sock_sendall(sock, bytes(10 << 20)))
    sock.close()
    await cancelled(task)
    support.collect()


@pytest.mark.whole_calls
async def test_another_file_under_the_number_of_a_living_socket(loop):
    """sock_recv() may keep its interest in the socket; remove_reader() ends it."""
    first, first_peer = socket.socketpair()
    second, second_peer = socket.socketpair()
    with first, first_peer, second, second_peer:
        first.setblocking(False)
        waiting = loop.create_task(loop.sock_recv(first, 10))
        await turns(3)
        first_peer.send(b"first")
        assert await waiting == b"first"
        assert loop.remove_reader(first) is False
        os.dup2(second.fileno(), first.fileno())
        os.set_blocking(first.fileno(), False)
        waiting = loop.create_task(loop.sock_recv(first, 10))
        await turns(3)
        second_peer.send(b"second")
        assert await waiting == b"second"


@pytest.mark.whole_calls
async def test_the_buffer_of_recv_into_may_change_its_size_meanwhile(loop):
    sock, peer = socket.socketpair()
    with sock, peer:
        sock.setblocking(False)
        buffer = bytearray(2)
        waiting = loop.create_task(loop.sock_recv_into(sock, buffer))
        await turns(3)
        buffer.extend(b"....")
        peer.send(b"answer")
        assert await waiting == 6
        assert buffer == b"answer"
