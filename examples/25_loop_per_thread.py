"""A loop per thread: servers that share one port, which without a GIL run at the same time; the first thread stops them all."""

import asyncio
import socket
import threading

THREADS, REQUESTS = 3, 30


class Server(threading.Thread):
    def __init__(self, port):
        super().__init__()
        self.port, self.served, self.ready = port, 0, threading.Event()

    def run(self):
        asyncio.run(self.serve())

    async def serve(self):
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(self.answer, "127.0.0.1", self.port, reuse_port=True):
            self.ready.set()
            await self.stop.wait()

    async def answer(self, reader, writer):
        number = int(await reader.readline())
        writer.write(b"%d\n" % number**2)
        await writer.drain()
        writer.close()
        self.served += 1

    def end(self):
        self.loop.call_soon_threadsafe(self.stop.set)  # one of the few calls that another thread may make
        self.join()


async def ask(port, number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"%d\n" % number)
    answer = await reader.read()
    writer.close()
    return int(answer)


async def ask_all(port):
    return await asyncio.gather(*(ask(port, number) for number in range(REQUESTS)))


with socket.socket() as reserved:  # it does not listen, and keeps the port for those who do
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(("127.0.0.1", 0))
    port = reserved.getsockname()[1]
    servers = [Server(port) for _ in range(THREADS)]
    for server in servers:
        server.start()
        server.ready.wait()
    print("sum of the answers:", sum(asyncio.run(ask_all(port))))
    for server in servers:
        server.end()
    # The kernel has given each connection to one of them; to which, differs from run to run.
    print("served by all:", sum(server.served for server in servers))
