"""gevent, which replaces what waits in the standard library: greenlets go on while a loop waits."""

# isort: off
from gevent import monkey

monkey.patch_all()
# isort: on

import asyncio
import selectors

import common
import gevent
import gevent.selectors


async def main():
    loop = asyncio.get_running_loop()
    assert type(loop._selector) is selectors.DefaultSelector is gevent.selectors.GeventSelector
    steps = []

    def greenlet():
        for number in range(5):
            gevent.sleep(0.001)
            steps.append(number)
        loop.call_soon_threadsafe(finished.set)

    finished = asyncio.Event()
    gevent.spawn(greenlet)
    await finished.wait()
    assert steps == list(range(5))

    async def answer(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"from a task\n")
    assert await reader.read() == b"FROM A TASK\n"
    writer.close()
    await writer.wait_closed()

    def blocking():
        with gevent.socket.create_connection(address) as sock:
            sock.sendall(b"from a greenlet\n")
            answers.append(sock.recv(100))
        loop.call_soon_threadsafe(answered.set)

    answered, answers = asyncio.Event(), []
    gevent.spawn(blocking)
    await answered.wait()
    assert answers == [b"FROM A GREENLET\n"]
    server.close()
    await server.wait_closed()


gevent.sleep(0)  # opens what gevent itself waits by
common.run(main)
