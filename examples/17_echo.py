"""An echo server and its clients, over streams: the server has a task for each connection."""

import asyncio


async def echo(reader, writer):
    # An empty result is the end: the client has closed its side.
    while data := await reader.readline():
        writer.write(data)
        await writer.drain()  # waits while the client does not read
    writer.close()
    await writer.wait_closed()


async def ask(address, texts):
    reader, writer = await asyncio.open_connection(*address)
    answers = []
    for text in texts:
        writer.write(f"{text}\n".encode())
        answers.append((await reader.readline()).decode().strip())
    writer.close()
    await writer.wait_closed()
    return answers


async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)  # the kernel chooses the port
    address = server.sockets[0].getsockname()
    async with server:
        clients = (ask(address, [f"{name} {i}" for i in range(3)]) for name in ("one", "two", "three"))
        for answers in await asyncio.gather(*clients):
            print(answers)


asyncio.run(main())
