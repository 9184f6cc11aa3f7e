"""Signals while the loop reads, writes, or has nothing to do."""

import asyncio
import os
import signal
import threading

import pytest

from . import peers
from .peers import SMALL, Recorder, in_thread, turns


@pytest.fixture
def handled(loop):
    """A list that gets an entry whenever the loop's handler of SIGUSR1 runs."""
    calls = []
    loop.add_signal_handler(signal.SIGUSR1, calls.append, "handled")
    yield calls
    loop.remove_signal_handler(signal.SIGUSR1)


def send(number=signal.SIGUSR1):
    os.kill(os.getpid(), number)


async def test_idle(loop):
    future = loop.create_future()
    loop.add_signal_handler(signal.SIGUSR1, future.set_result, "handled")
    await in_thread(send)
    assert await future == "handled"
    assert loop.remove_signal_handler(signal.SIGUSR1) is True


async def test_while_reading(connect, handled):
    transport, protocol, peer = await connect(Recorder)
    data = peers.payload(1 << 20)

    def send_both():
        for i in range(0, len(data), 16384):
            peer.send(data[i : i + 16384])
            send()

    await in_thread(send_both)
    assert peers.digest(await protocol.bytes(len(data))) == peers.digest(data)
    while not handled:
        await asyncio.sleep(0)
    transport.close()
    await protocol.lost()


async def test_while_writing(connect, handled):
    transport, protocol, peer = await connect(Recorder, ours_sndbuf=SMALL, theirs_rcvbuf=SMALL)
    data = peers.payload(1 << 20)
    transport.write(data)

    def receive_and_send():
        received = b""
        while len(received) < len(data):
            received += peer.sock.recv(65536)
            send()
        return received

    assert peers.digest(await in_thread(receive_and_send)) == peers.digest(data)
    while not handled:
        await asyncio.sleep(0)
    transport.close()
    await protocol.lost()


async def test_while_a_socket_is_waited_for(loop, family, handled):
    ours, theirs = peers.socket_pair(family)
    with ours, theirs:
        receiving = asyncio.ensure_future(loop.sock_recv(ours, 10))
        await turns(3)
        for _ in range(20):
            await in_thread(send)
        while not handled:
            await asyncio.sleep(0)
        theirs.sendall(b"x")
        assert await receiving == b"x"


async def test_handler_that_writes(connect, loop):
    transport, protocol, peer = await connect(Recorder)
    loop.add_signal_handler(signal.SIGUSR1, transport.write, b"signal")
    await in_thread(send)
    assert await peer.read(6) == b"signal"
    loop.remove_signal_handler(signal.SIGUSR1)
    transport.close()
    await protocol.lost()


async def test_python_handler_in_the_middle_of_io(connect):
    """A handler of signal.signal runs between callbacks, and takes nothing away."""
    calls = []
    previous = signal.signal(signal.SIGUSR2, lambda number, frame: calls.append(number))
    try:
        transport, protocol, peer = await connect(Recorder)

        def send_both():
            for i in range(50):
                peer.send(b"%02d" % i)
                send(signal.SIGUSR2)

        await in_thread(send_both)
        assert await protocol.bytes(100) == b"".join(b"%02d" % i for i in range(50))
        assert calls
        transport.close()
        await protocol.lost()
    finally:
        signal.signal(signal.SIGUSR2, previous)


def test_keyboard_interrupt_of_an_idle_loop(loop, connect, handled):
    """Ctrl-C leaves run_forever(); the transports survive, and the loop runs on.

    The loop has another signal's handler: without any, asyncio misses a signal that comes just before it waits.
    """
    transport, protocol, peer = loop.run_until_complete(connect(Recorder))
    running = threading.Event()

    def interrupt():
        running.wait(peers.GUARD_SECONDS)
        send(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    loop.call_soon(running.set)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    thread.join()

    async def go_on():
        peer.send(b"still there")
        assert await protocol.bytes(11) == b"still there"
        transport.write(b"so am I")
        assert await peer.read(7) == b"so am I"
        transport.close()
        await protocol.lost()

    loop.run_until_complete(go_on())


def test_keyboard_interrupt_in_a_callback(loop, connect):
    transport, protocol, peer = loop.run_until_complete(
        connect(lambda: Recorder(data=lambda self, data: signal.raise_signal(signal.SIGINT)))
    )
    peer.send(b"x")
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert protocol.received == b"x"
    protocol._actions.clear()
    peer.send(b"y")
    loop.run_until_complete(protocol.bytes(2))
    transport.close()
    loop.run_until_complete(protocol.lost())


def test_keyboard_interrupt_cancels_the_main_task(impl):
    """asyncio.Runner's own handling, in the middle of a read."""
    cleaned = []

    async def main():
        ours, theirs = peers.socket_pair("tcp")
        with ours, theirs:
            loop = asyncio.get_running_loop()
            loop.call_soon(send, signal.SIGINT)
            try:
                await loop.sock_recv(ours, 1)
            finally:
                cleaned.append(loop.remove_reader(ours))

    with asyncio.Runner(loop_factory=impl.new_event_loop) as runner:
        with pytest.raises(KeyboardInterrupt):
            runner.run(main())
    assert cleaned == [False]
