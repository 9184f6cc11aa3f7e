"""Graceful shutdown: on SIGTERM a server takes no new connections, lets the requests at work end, for so long and no longer."""

import asyncio
import os
import signal

GRACE_S = 0.05


class Server:
    def __init__(self):
        self.requests, self.begun, self.stop = set(), asyncio.Queue(), asyncio.Event()

    def accept(self, reader, writer):
        task = asyncio.create_task(self.serve(reader, writer))
        self.requests.add(task)
        task.add_done_callback(self.requests.discard)

    async def serve(self, reader, writer):
        request = (await reader.readline()).decode().strip()
        print("begins", request)
        self.begun.put_nowait(request)
        try:
            await self.stop.wait()  # it is at work when the signal comes
            await asyncio.sleep(60 if request == "endless" else 0.01)
            writer.write(b"done\n")
            print("ends", request)
        except asyncio.CancelledError:
            print("is cut off:", request)
            raise
        finally:
            writer.close()

    async def run(self, ready):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stop.set)
        server = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        ready.set_result(server.sockets[0].getsockname())
        await self.stop.wait()
        print("stops listening")
        server.close()
        _, late = await asyncio.wait(self.requests, timeout=GRACE_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def ask(address, text):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(f"{text}\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


async def main():
    server, ready = Server(), asyncio.get_running_loop().create_future()
    running = asyncio.create_task(server.run(ready))
    clients = []
    for text in ("short", "endless"):
        clients.append(asyncio.create_task(ask(await ready, text)))
        await server.begun.get()
    os.kill(os.getpid(), signal.SIGTERM)  # what a supervisor does
    await running
    print("answers:", await asyncio.gather(*clients))


asyncio.run(main())
