"""An HTTP server by hand: a Protocol that is given bytes as they come, in whatever pieces, and keeps its connection alive."""

import asyncio


class Http(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.received = transport, b""

    def data_received(self, data):
        self.received += data
        # There may be less than a request in it, or several.
        while b"\r\n\r\n" in self.received:
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            request, *lines = head.decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            self.answer(request, headers)

    def answer(self, request, headers):
        method, path, _ = request.split(" ")
        status, body = (
            ("200 OK", f"hello from {path}\n") if method == "GET" else ("405 Method Not Allowed", "")
        )
        self.transport.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        if headers.get("connection") == "close":
            self.transport.close()  # when all is sent


async def main():
    server = await asyncio.get_running_loop().create_server(Http, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        # Two requests at once, and a third that comes in pieces.
        writer.write(
            b"GET /one HTTP/1.1\r\nHost: here\r\n\r\nGET /two HTTP/1.1\r\nHost: here\r\n\r\nPOST /thr"
        )
        for _ in range(2):
            print((await reader.readuntil(b"\n\r\n") + await reader.readline()).decode().split("\r\n"))
        writer.write(b"ee HTTP/1.1\r\nConnection: close\r\n\r\n")
        print((await reader.read()).decode().split("\r\n"))
        writer.close()
        await writer.wait_closed()


asyncio.run(main())
