"""What `python -m benchmarks net` measures: kinds of servers, and the cases, each of which is a load on one of them.

The program of a kind is the function of its name in `servers.py`, and its docstring is the description of the case.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

HTTP_BODY = b"Hello, world!"  # also in floor.c

KIB = 1024
SIZES = (KIB, 16 * KIB, 100 * KIB)
CONNECTIONS = (1, 10, 100)


@dataclass(frozen=True)
class Kind:
    """A server program.

    `load` is the mode of the load generator, `floor` that of the server in C, or None where it has none. `names`
    says whether the program uses names of `asyncio` per request, so that a patched process is something else than
    the loop alone. `needs` are the modules without which its cases are left out.
    """

    name: str
    title: str
    load: str = "echo"
    floor: str | None = "tcp"
    sizes: tuple[int, ...] = SIZES
    connections: tuple[int, ...] = CONNECTIONS
    names: bool = False
    needs: tuple[str, ...] = ()
    certificate: str = "ecdsa"  # what is served over TLS

    @property
    def uses_tls(self) -> bool:
        return self.load in ("tls", "handshake", "resume", "https")


KINDS = {
    kind.name: kind
    for kind in (
        Kind("protocol", "Protocol"),
        Kind("buffered", "BufferedProtocol"),
        Kind("streams", "streams", names=True),
        Kind("readline", "streams, readline", names=True),
        Kind("sock", "sock_recv, sock_sendall", names=True),
        Kind("unix", "Protocol on a Unix socket", floor="unix"),
        Kind("tls", "Protocol over TLS", load="tls", floor="tls"),
        Kind("tls_streams", "streams over TLS", load="tls", floor="tls", names=True),
        Kind("handshake", "TLS handshake (ECDSA), echo, close", load="handshake", floor="tls", sizes=(1,)),
        Kind(
            "handshake_rsa",
            "TLS handshake (RSA), echo, close",
            load="handshake",
            floor="tls",
            sizes=(1,),
            certificate="rsa",
        ),
        Kind("resumption", "resumed TLS handshake, echo, close", load="resume", floor="tls", sizes=(1,)),
        Kind("two_writes", "head and body as two writes", sizes=(KIB, 16 * KIB)),
        Kind("connect", "connect, echo, close", load="connect", sizes=(1,)),
        # More datagrams on their way than these might not fit into the socket's buffer, and would be lost.
        Kind("udp", "datagrams", load="udp", floor="udp", sizes=(KIB,), connections=(1, 10)),
        Kind(
            "uvicorn",
            "HTTP by uvicorn",
            load="http",
            floor="http",
            sizes=(len(HTTP_BODY),),
            names=True,
            needs=("uvicorn", "httptools"),
        ),
        Kind(
            "aiohttp",
            "HTTP by aiohttp",
            load="http",
            floor="http",
            sizes=(len(HTTP_BODY),),
            names=True,
            needs=("aiohttp",),
        ),
        Kind(
            "uvicorn_tls",
            "HTTPS by uvicorn",
            load="https",
            floor=None,
            sizes=(len(HTTP_BODY),),
            names=True,
            needs=("uvicorn", "httptools"),
        ),
        Kind(
            "aiohttp_tls",
            "HTTPS by aiohttp",
            load="https",
            floor=None,
            sizes=(len(HTTP_BODY),),
            names=True,
            needs=("aiohttp",),
        ),
    )
}


@dataclass(frozen=True)
class Case:
    """A load on a server of `kind`: messages of `size` bytes over `connections` connections, one at a time on each."""

    kind: Kind
    size: int
    connections: int

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.kind.name, size_text(self.size, "k"), str(self.connections))))

    @property
    def label(self) -> str:
        """The title where the kind is said elsewhere."""
        count = f"{self.connections} connection" + ("s" if self.connections > 1 else "")
        return ", ".join(filter(None, (size_text(self.size, " KiB"), count)))

    @property
    def title(self) -> str:
        return f"{self.kind.title}, {self.label}"

    @property
    def description(self) -> str:
        """The server program in a sentence."""
        from . import servers  # which imports asyncio, and has the programs by the names of the kinds

        return " ".join((servers.PROGRAMS[self.kind.name].__doc__ or "").split())

    def runs_on(self, target: str) -> bool:
        """Return whether it is worth measuring the case on `target`."""
        return {"floor": self.kind.floor is not None, "patched": self.kind.names}.get(target, True)


def size_text(size: int, unit: str) -> str:
    return f"{size // KIB}{unit}" if size >= KIB else ""


def all_cases() -> Iterator[Case]:
    for kind in KINDS.values():
        for size in kind.sizes:
            for connections in kind.connections:
                yield Case(kind, size, connections)


CASES = {case.name: case for case in all_cases()}
