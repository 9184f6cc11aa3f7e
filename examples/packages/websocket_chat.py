"""A chat over WebSockets, by the library websockets: one server, and members that come, speak, hear each other and go."""

import asyncio

from websockets.asyncio.client import connect
from websockets.asyncio.server import broadcast, serve

members = {}  # the connection of each member, by name


async def chat(connection):
    name = await connection.recv()
    members[name] = connection
    broadcast(members.values(), f"* {name} is here")
    try:
        async for text in connection:
            broadcast(members.values(), f"{name}: {text}")
    finally:
        del members[name]
        broadcast(members.values(), f"* {name} has left")


async def hear(connection, count):
    return [await connection.recv() for _ in range(count)]


async def main():
    async with serve(chat, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        address = f"ws://{host}:{port}"
        async with connect(address) as ann:
            await ann.send("Ann")
            print("Ann hears", await hear(ann, 1))
            async with connect(address) as bob:
                await bob.send("Bob")
                print("Ann hears", await hear(ann, 1))
                await ann.send("hello, Bob")
                print("Bob hears", await hear(bob, 2))
            print("Ann hears", await hear(ann, 2))


asyncio.run(main())
