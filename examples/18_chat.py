"""A chat: what one client says is sent to all others, by a queue for each, so that a slow one holds nobody up."""

import asyncio

members = {}  # the name of each member, and the queue of what it has still to be sent


def tell(text, *, but=None):
    for name, queue in members.items():
        if name != but:
            queue.put_nowait(text)


async def send(queue, writer):
    while True:
        writer.write(f"{await queue.get()}\n".encode())
        await writer.drain()


async def chat(reader, writer):
    name = (await reader.readline()).decode().strip()
    members[name] = queue = asyncio.Queue()
    sender = asyncio.create_task(send(queue, writer))
    tell(f"* {name} is here")
    try:
        while line := await reader.readline():
            tell(f"{name}: {line.decode().strip()}", but=name)
    finally:
        del members[name]
        tell(f"* {name} has left")
        sender.cancel()
        writer.close()


class Client:
    """A member that keeps what it hears."""

    async def join(self, address, name):
        self.name, self.heard = name, []
        self.reader, self.writer = await asyncio.open_connection(*address)
        self.say(name)
        await self.hear(f"* {name} is here")

    def say(self, text):
        self.writer.write(f"{text}\n".encode())

    async def hear(self, until):
        while not self.heard or self.heard[-1] != until:
            self.heard.append((await self.reader.readline()).decode().strip())

    async def leave(self):
        self.writer.close()
        await self.writer.wait_closed()


async def main():
    server = await asyncio.start_server(chat, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    ann, bob = Client(), Client()
    async with server:
        await ann.join(address, "Ann")
        await bob.join(address, "Bob")
        ann.say("hello, who is there?")
        await bob.hear("Ann: hello, who is there?")
        bob.say("only me")
        await ann.hear("Bob: only me")
        await bob.leave()
        await ann.hear("* Bob has left")
        await ann.leave()
    for client in (ann, bob):
        print(client.name, "has heard", client.heard)


asyncio.run(main())
