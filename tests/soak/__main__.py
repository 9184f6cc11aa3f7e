"""Everything under load: python -m tests.soak [--seconds S] [--connections N] [--parts NAME...]

In rounds, until the time is over, on loopback: many connections to another process, which echoes messages; such processes
killed in the middle; messages over Unix sockets, TLS and datagrams; lines over the native streams; the native queues, locks
and timeouts; connecting and closing; timers set and cancelled; slow readers with megabytes behind the water marks;
subprocesses; and peers that reset at random meanwhile. After each round all bytes are accounted for by checksums, no
descriptor and no task is left, and memory has not grown since the first rounds. How long a message took there and back is
printed, first and last rounds beside each other: that is for the reader to judge.
"""

import argparse
import asyncio
import gc
import hashlib
import os
import random
import resource
import socket
import statistics
import struct
import sys
import tempfile
import time

import asyncio_c
from tests.torture.programs import new_tls_contexts

ROUNDS_TO_WARM_UP = 2
GROWTH_KB = 24 * 1024  # what the allocator may keep of a round beside the ones before
MESSAGE = 64
IN_ONE_PROCESS = 500  # connections at once, both ends


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def memory_kb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


class Echo(asyncio.Protocol):
    """Sends back what it receives; is in the set `connected` for as long as it can."""

    def __init__(self, connected):
        self.connected = connected

    def connection_made(self, transport):
        self.connected.add(self)
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def connection_lost(self, exc):
        self.connected.remove(self)


class Client(asyncio.Protocol):
    """Sends messages one after the other, checks what comes back, and adds to `latencies` how many seconds that took."""

    def __init__(self, random, count, latencies):
        self.random, self.left, self.expected, self.latencies = random, count, b"", latencies
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def send(self):
        self.expected = self.random.randbytes(MESSAGE)
        self.received = b""
        self.sent_at = time.monotonic()
        self.transport.write(self.expected)

    def data_received(self, data):
        self.received += data
        if len(self.received) < MESSAGE:
            return
        self.latencies.append(time.monotonic() - self.sent_at)
        assert self.received == self.expected, "a byte is lost or changed"
        self.left -= 1
        self.send() if self.left else self.transport.close()

    def connection_lost(self, exc):
        if not self.done.done():
            self.done.set_result(self.left)


async def connect(soak, count, messages, latencies, open_one):
    """Return the clients of so many connections, which have yet to send the first of their messages.

    `await open_one(factory)` makes a connection as create_connection() does.
    """
    clients = []
    for first in range(0, count, 500):
        connecting = [
            open_one(lambda: Client(soak.random, messages, latencies)) for _ in range(min(500, count - first))
        ]
        clients += [client for _, client in await asyncio.gather(*connecting)]
    return clients


async def exchange(clients):
    """Send and receive all messages. Returns how many bytes were checked."""
    total = sum(client.left for client in clients) * MESSAGE
    for client in clients:
        client.send()
    assert await asyncio.gather(*[client.done for client in clients]) == [0] * len(clients)
    return total


async def close(server, connected):
    server.close()
    while connected:
        await asyncio.sleep(0)


async def serve_for_parent():
    """The other process: echo until standard input ends and everybody has gone, and print how many there were."""
    served, connected = [], set()

    def factory():
        served.append(1)
        return Echo(connected)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    await close(server, connected)
    print(len(served))


async def start_server_process():
    """Return another process that echoes, and what opens a connection to it."""
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "tests.soak", "--serve"]
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    port = int(await process.stdout.readline())
    loop = asyncio.get_running_loop()
    return process, lambda factory: loop.create_connection(factory, "127.0.0.1", port)


async def connections(soak):
    """All connections at once, each with a few messages; each of the two processes has one end of each."""
    process, open_one = await start_server_process()
    clients = await connect(soak, soak.connections, 5, soak.latencies, open_one)
    total = await exchange(clients)
    served, _ = await process.communicate(b"")
    assert (process.returncode, int(served)) == (0, soak.connections)
    return total


async def killed_peers(soak):
    """Processes with which messages are exchanged are killed, each at another moment."""

    async def one():
        process, open_one = await start_server_process()
        answered = []
        clients = await connect(soak, 50, 100_000, answered, open_one)
        for client in clients:
            client.send()
        enough = soak.random.randrange(5000)
        while len(answered) < enough:
            await asyncio.sleep(0)
        process.kill()
        left = await asyncio.gather(*[client.done for client in clients])
        assert all(left), "a connection has ended before its peer"
        await process.communicate()
        return len(answered) * MESSAGE

    return sum(await asyncio.gather(*[one() for _ in range(3)]))


async def echoes(soak):
    """Both ends of some connections are here, as is their memory: of TCP, of Unix sockets and of TLS."""
    loop = asyncio.get_running_loop()
    connected = set()
    server_context, client_context = new_tls_contexts()

    def echo():
        return Echo(connected)

    async def through(server, latencies, count, open_one, *address, **options):
        """Exchange messages over connections that `open_one(factory, *address, **options)` makes, and close the server."""
        clients = await connect(
            soak, count, 5, latencies, lambda factory: open_one(factory, *address, **options)
        )
        checked = await exchange(clients)
        await close(server, connected)
        return checked

    server = await loop.create_server(echo, "127.0.0.1", 0, backlog=4096)
    address = server.sockets[0].getsockname()
    total = await through(server, soak.latencies, IN_ONE_PROCESS, loop.create_connection, *address)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        server = await loop.create_unix_server(echo, path, backlog=4096)
        total += await through(server, [], IN_ONE_PROCESS, loop.create_unix_connection, path)
    server = await loop.create_server(echo, "127.0.0.1", 0, backlog=4096, ssl=server_context)
    address = server.sockets[0].getsockname()
    tls = {"ssl": client_context, "server_hostname": "localhost"}
    total += await through(server, [], IN_ONE_PROCESS // 10, loop.create_connection, *address, **tls)
    return total


class EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


class Datagrams(asyncio.DatagramProtocol):
    """Sends datagrams, one after the other, as none may be lost then, and checks what comes back."""

    def __init__(self, random, count):
        self.random, self.left = random, count
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.send()

    def send(self):
        self.expected = self.random.randbytes(self.random.randrange(1, 2000))
        self.transport.sendto(self.expected)

    def datagram_received(self, data, address):
        assert data == self.expected, "a datagram is changed"
        self.left -= 1
        self.send() if self.left else self.transport.close()

    def connection_lost(self, exc):
        self.done.set_result(self.left)


async def datagrams(soak):
    loop = asyncio.get_running_loop()
    echo, _ = await loop.create_datagram_endpoint(EchoDatagrams, local_addr=("127.0.0.1", 0))
    address = echo.get_extra_info("sockname")
    ends = [
        await loop.create_datagram_endpoint(lambda: Datagrams(soak.random, 200), remote_addr=address)
        for _ in range(20)
    ]
    assert await asyncio.gather(*[protocol.done for _, protocol in ends]) == [0] * len(ends)
    echo.close()
    return 0


async def storms(soak):
    """Connections that are closed, aborted or reset as soon as they are there, or before."""
    loop = asyncio.get_running_loop()
    connected = set()
    server = await loop.create_server(lambda: Echo(connected), "127.0.0.1", 0, backlog=1024)
    address = server.sockets[0].getsockname()

    async def one():
        fate = soak.random.randrange(4)
        connecting = asyncio.ensure_future(loop.create_connection(asyncio.Protocol, *address))
        if fate == 0:
            await asyncio.sleep(0)
            connecting.cancel()
            await asyncio.wait([connecting])
            if not connecting.cancelled():
                connecting.result()[0].abort()
            return
        transport, _ = await connecting
        if fate == 1:
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.write(b"x" * 100)
        transport.abort() if fate == 2 else transport.close()

    for _ in range(5):
        await asyncio.gather(*[one() for _ in range(200)])
    await asyncio.sleep(0.01)
    await close(server, connected)
    return 0


async def timers(soak):
    """Timers that are set and cancelled, and some that fire."""
    loop = asyncio.get_running_loop()
    fired = []
    for _ in range(10):
        handles = [
            loop.call_later(soak.random.random() * 1000, fired.append, 1) for _ in range(soak.timers // 10)
        ]
        soak.random.shuffle(handles)
        for handle in handles:
            handle.cancel()
        await asyncio.gather(*[asyncio.sleep(soak.random.random() / 1000) for _ in range(100)])
    assert not fired
    return 0


async def slow_readers(soak):
    """Megabytes behind the water marks; some readers are killed in the middle."""
    size, count = 2 << 20, 8
    data = soak.random.randbytes(size)
    wanted = hashlib.sha256(data).digest()
    total = 0

    async def serve(reader, writer):
        try:
            for start in range(0, size, 10_000):
                writer.write(data[start : start + 10_000])
                await writer.drain()
            writer.close()
            await writer.wait_closed()
        except OSError:
            writer.close()  # the reader was killed

    server = await asyncio.start_server(serve, "127.0.0.1", 0)

    async def read(killed):
        nonlocal total
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        digest, received = hashlib.sha256(), 0
        while chunk := await reader.read(50_000):
            digest.update(chunk)
            received += len(chunk)
            if killed and received > size // 2:
                writer.transport.abort()
                return
            await asyncio.sleep(0)
        assert received == size and digest.digest() == wanted, "bytes are lost or changed"
        total += received
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*[read(n % 4 == 3) for n in range(count)])
    server.close()
    return total


async def processes(soak):
    data = soak.random.randbytes(100_000)

    async def one(killed):
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec("/bin/cat", stdin=pipe, stdout=pipe)
        if killed:
            process.kill()
            await process.communicate()
            assert process.returncode == -9
        else:
            assert (await process.communicate(data))[0] == data

    await asyncio.gather(*[one(n % 3 == 0) for n in range(12)])
    return len(data) * 8


async def streams(soak):
    """Lines and blocks over the native streams, of TCP, Unix sockets and TLS; some clients reset in the middle."""
    server_context, client_context = new_tls_contexts()
    tls = {"ssl": client_context, "server_hostname": "localhost"}
    serving = set()

    async def serve(reader, writer):
        serving.add(writer)
        try:
            while line := await reader.readline():
                writer.write(line + await reader.readexactly(int(line)))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has reset
        finally:
            writer.close()
            serving.remove(writer)

    async def ask(killed, open_one, *address, **options):
        reader, writer = await open_one(*address, **options)
        total = 0
        for size in (0, 1, 100, 70_000, 200_000):
            block = soak.random.randbytes(size)
            writer.writelines([b"%d\n" % size, block])
            if killed and size == 70_000:
                writer.transport.abort()
                return total
            await writer.drain()
            assert int(await reader.readuntil(b"\n")) == size
            assert await reader.readexactly(size) == block, "bytes are lost or changed"
            total += size
        writer.write_eof() if writer.can_write_eof() else writer.close()
        assert not await reader.read()
        writer.close()
        await writer.wait_closed()
        return total

    async def through(server, count, open_one, *address, **options):
        asking = [ask(n % 4 == 3, open_one, *address, **options) for n in range(count)]
        total = sum(await asyncio_c.gather(*asking))
        server.close()
        while serving:
            await asyncio_c.sleep(0)
        return total

    server = await asyncio_c.start_server(serve, "127.0.0.1", 0)
    total = await through(server, 40, asyncio_c.open_connection, *server.sockets[0].getsockname())
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        server = await asyncio_c.start_unix_server(serve, path)
        total += await through(server, 40, asyncio_c.open_unix_connection, path)
    server = await asyncio_c.start_server(serve, "127.0.0.1", 0, ssl=server_context)
    address = server.sockets[0].getsockname()
    return total + await through(server, 20, asyncio_c.open_connection, *address, **tls)


async def primitives(soak):
    """Producers and consumers, each item under a lock, a semaphore and a timeout; who waits is cancelled at random."""
    count = 2000
    for kind in (asyncio_c.Queue, asyncio_c.PriorityQueue, asyncio_c.LifoQueue):
        queue, lock, semaphore = kind(10), asyncio_c.Lock(), asyncio_c.BoundedSemaphore(3)
        condition, barrier, ended = asyncio_c.Condition(), asyncio_c.Barrier(4), asyncio_c.Event()
        items = []

        async def produce(first):
            for item in range(first, count, 4):
                async with asyncio_c.timeout(60), semaphore:
                    await queue.put(item)
                async with condition:
                    condition.notify(1)
            await barrier.wait()

        async def consume():
            while True:
                item = await asyncio_c.wait_for(queue.get(), 60)
                async with lock:
                    items.append(item)
                await asyncio_c.shield(asyncio_c.sleep(0))
                queue.task_done()

        async def look():
            async with condition:
                await condition.wait_for(ended.is_set)

        async with asyncio_c.TaskGroup() as group:
            consumers = [group.create_task(consume()) for _ in range(5)]
            looking = [group.create_task(look()) for _ in range(20)]
            producers = [group.create_task(produce(first)) for first in range(4)]
            for task in looking[::2]:
                await asyncio_c.sleep(0)
                task.cancel()
            for producer in asyncio_c.as_completed(producers):
                await producer
            await queue.join()
            ended.set()
            async with condition:
                condition.notify_all()
            for task in consumers:
                task.cancel()
        assert sorted(items) == list(range(count)), "items are lost or doubled"
    assert await asyncio_c.to_thread(len, items) == count
    return 0


FUNCTIONS = (
    *(connections, echoes, datagrams, killed_peers, storms, timers, slow_readers, processes),
    *(streams, primitives),
)
PARTS = {function.__name__: function for function in FUNCTIONS}


class Soak:
    def __init__(self, options):
        self.random = random.Random(options.seed)
        self.connections, self.timers = options.connections, options.timers
        self.reports = []
        self.latencies = []

    async def round(self, names):
        """One round; what a part leaves is an error. Returns how many bytes were checked."""
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: self.reports.append(context))
        before, total = descriptors(), 0
        for name in names:
            total += await PARTS[name](self)
            for _ in range(20):
                await asyncio.sleep(0)
            assert descriptors() <= before + 1, f"{name} leaves {descriptors() - before} descriptors"
            assert len(asyncio.all_tasks()) == 1, f"{name} leaves tasks"
            assert not self.reports, f"{name}: {self.reports[0]}"
        total += sum(await asyncio.gather(*[part(self) for part in FUNCTIONS[1:]]))
        assert not self.reports, self.reports[0]
        return total


def main():
    parser = argparse.ArgumentParser(description="Everything under load.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument(
        "--connections", type=int, default=10_000, help="at once, each with a descriptor here"
    )
    parser.add_argument("--serve", action="store_true", help="be the other process of another soak")
    parser.add_argument("--timers", type=int, default=1_000_000, help="in each round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.serve:
        return asyncio_c.run(serve_for_parent())
    if hard != resource.RLIM_INFINITY:
        options.connections = min(options.connections, hard - 2000)

    soak, end, number, peak, checked = Soak(options), time.monotonic() + options.seconds, 0, 0, 0
    medians_ms = []
    with asyncio.Runner(loop_factory=asyncio_c.new_event_loop) as runner:
        while number <= ROUNDS_TO_WARM_UP or time.monotonic() < end:
            began = time.monotonic()
            soak.latencies.clear()
            checked += runner.run(soak.round(options.parts))
            medians_ms.append(statistics.median(soak.latencies) * 1000)
            gc.collect()
            number += 1
            memory = memory_kb()
            seconds = time.monotonic() - began
            print(
                f"round {number}: {memory} KiB, {descriptors()} descriptors, {seconds:.1f} s, "
                f"median round trip {medians_ms[-1]:.1f} ms",
                flush=True,
            )
            if number <= ROUNDS_TO_WARM_UP:
                peak = max(peak, memory)
            assert memory < peak + GROWTH_KB, f"memory has grown from {peak} to {memory} KiB"
    some = max(1, number // 3)
    first, last = statistics.median(medians_ms[:some]), statistics.median(medians_ms[-some:])
    print(f"median round trip of the first {some} rounds {first:.1f} ms, of the last {last:.1f} ms")
    print(
        f"{number} rounds, {options.connections} connections at once, {checked >> 20} MiB checked: all is well"
    )


if __name__ == "__main__":
    sys.exit(main())
