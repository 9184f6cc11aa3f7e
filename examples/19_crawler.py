"""A crawler: workers take pages from a queue, and put the links that nobody has seen into it. Its site is a server in here."""

import asyncio
import re

SITE = {
    "/": "/about /news",
    "/about": "/ /people",
    "/people": "/about /people/ann /people/bob",
    "/people/ann": "/people",
    "/people/bob": "/people /missing",
    "/news": "/ /news/1 /news/2",
    "/news/1": "/news /news/2",
    "/news/2": "/news /news/1",
}


async def serve(reader, writer):
    """Answer one request with a page of links."""
    path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
    links = SITE.get(path)
    status = "200 OK" if links is not None else "404 Not Found"
    body = " ".join(f'<a href="{link}">' for link in (links or "").split())
    writer.write(f"HTTP/1.0 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    writer.close()


async def fetch(address, path):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


async def crawl(address, workers=3):
    """Return {path: status} of all pages that can be reached."""
    found, queue = {"/": None}, asyncio.Queue()
    queue.put_nowait("/")

    async def work():
        while True:
            path = await queue.get()
            found[path], body = await fetch(address, path)
            for link in re.findall('href="(.*?)"', body):
                if link not in found:
                    found[link] = None
                    queue.put_nowait(link)
            queue.task_done()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work()) for _ in range(workers)]
        await queue.join()  # every page that was put in is done
        for task in tasks:
            task.cancel()
    return found


async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        found = await crawl(server.sockets[0].getsockname())
    for path, status in sorted(found.items()):
        print(status, path)


asyncio.run(main())
