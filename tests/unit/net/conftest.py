"""Fixtures of the network tests: loops on both pollers, peers, and the proof that a test leaves nothing behind.

A test is a coroutine function and runs on the fixture `loop`, or a plain function that drives `loop` itself. Each runs on

    asyncio   stock loop: proves that the test is right about asyncio
    epoll     our loop
    poll      our loop on poll(2)

and, in a module that says OVER_TLS or marked over_tls, on each of our ways to do TLS (ASYNCIO_C_TLS): epoll-asyncio,
epoll-object, epoll-openssl.

Whatever the loop reports to its exception handler, or logs as a warning, has to be taken from `reports` and `logged` by the
test that expects it. Warnings are errors.
"""

import asyncio
import contextlib
import gc
import inspect
import logging
import socket
import threading

import pytest

from .. import support
from . import peers

# A hanging test fails with the traceback of where it waits; no test comes near this time.
GUARD_SECONDS = 120
IMPLEMENTATIONS = ("asyncio", "epoll", "poll")
TLS_IMPLEMENTATIONS = ("asyncio", "epoll-asyncio", "epoll-object", "epoll-openssl", "poll-openssl")


def pytest_itemcollected(item):
    item.add_marker(pytest.mark.filterwarnings("error"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run a test that is a coroutine function on the fixture `loop`."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    loop = pyfuncitem.funcargs["loop"]
    names = pyfuncitem._fixtureinfo.argnames

    async def guarded():
        async with asyncio.timeout(GUARD_SECONDS):
            await pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})

    loop.run_until_complete(guarded())
    return True


def pytest_generate_tests(metafunc):
    chosen = any(mark.args[0] == "impl" for mark in metafunc.definition.iter_markers("parametrize"))
    if "impl" in metafunc.fixturenames and not chosen:
        marked = any(metafunc.definition.iter_markers("over_tls"))
        over_tls = marked or getattr(metafunc.module, "OVER_TLS", False)
        metafunc.parametrize("impl", TLS_IMPLEMENTATIONS if over_tls else IMPLEMENTATIONS, indirect=True)


@pytest.fixture
def impl(request, monkeypatch):
    """One implementation: see `support.load`; `native_transports` tells whether its stream transport is in C, `tls` by
    what it does TLS."""
    poller, _, engine = request.param.partition("-")
    if poller == "asyncio":
        impl = support.load("asyncio")
    else:
        monkeypatch.setenv("ASYNCIO_C_POLLER", poller)
        monkeypatch.setenv("ASYNCIO_C_TLS", engine)
        impl = support.load("loop_only")
    impl.tls = engine or "asyncio"
    impl.native_transports = impl.native_loop and _has_native_transports()
    return impl


def _has_native_transports():
    """Whether the stream transport is our own, rather than asyncio's: some of asyncio's have defects of their own."""
    import asyncio_c

    return asyncio_c.Loop._make_socket_transport is not asyncio.SelectorEventLoop._make_socket_transport


@pytest.fixture(scope="module")
def no_garbage_of_others():
    """What tests of other files left to the garbage collector closes its descriptors now, and not in a test."""
    support.collect()


@pytest.fixture
def same_descriptors(no_garbage_of_others):
    """The process has the same descriptors open after the test as before.

    But for pipes that end meanwhile: those of a child of an earlier test, which garbage or a thread of asyncio's had to itself.
    """
    before = peers.open_descriptors()
    yield
    support.collect()
    after = peers.open_descriptors()
    ended = {fd for fd, file in before.items() if fd not in after and file.startswith("pipe:")}
    assert after == {fd: file for fd, file in before.items() if fd not in ended}


@pytest.fixture
def reports():
    """The contexts that the loop's exception handler was given; the test takes away those that it expects."""
    contexts = []
    yield contexts
    assert contexts == [], "unexpected reports to the exception handler"


@pytest.fixture
def logged():
    """The messages that asyncio logged as warnings or errors; the test takes away those that it expects."""
    messages = []

    class Recorder(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())

    handler = Recorder(logging.WARNING)
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)
    assert messages == [], "unexpected messages in the log"


@pytest.fixture(autouse=True)
def loop(impl, same_descriptors, reports, logged):
    """A fresh loop, closed at the end; the test has to leave it without tasks."""
    loop = impl.new_event_loop()
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    yield loop
    if loop.is_closed():
        return
    support.run_until_idle(loop)
    left = asyncio.all_tasks(loop)
    with support.closing(loop):
        loop.run_until_complete(loop.shutdown_default_executor())
    assert left == set(), "tasks left by the test"
    gc.collect()


@pytest.fixture(params=("tcp", "unix"))
def family(request):
    """Whether streams are TCP or Unix sockets."""
    return request.param


@pytest.fixture
def connect(loop, family):
    """`await connect(factory)` returns `(transport, protocol, peer)`: a transport of `loop`, and a plain socket as its peer."""
    with contextlib.ExitStack() as stack:

        async def connect(factory, **sizes):
            ours, theirs = peers.socket_pair(family, **sizes)
            peer = stack.enter_context(peers.Peer(theirs))
            if family == "tcp":
                transport, protocol = await loop.create_connection(factory, sock=ours)
            else:
                transport, protocol = await loop.create_unix_connection(factory, sock=ours)
            return transport, protocol, peer

        yield connect


@pytest.fixture
def server_context():
    return peers.server_context()


@pytest.fixture
def client_context():
    return peers.client_context()


@pytest.fixture
def serve(loop, server_context):
    """`await serve()` returns `(address, protocols, stop)` of a TLS server."""

    async def serve(factory=peers.Recorder, *, context=server_context, **keywords):
        protocols = []

        def make():
            protocols.append(factory())
            return protocols[-1]

        server = await loop.create_server(make, "127.0.0.1", 0, ssl=context, **keywords)

        async def stop():
            server.close()
            await server.wait_closed()

        return server.sockets[0].getsockname(), protocols, stop

    return serve


@pytest.fixture
def by_hand(loop, server_context, client_context):
    """`await by_hand(factory)` returns `(transport, protocol, TLSPeer)` of a connection after its handshake.

    Ours is the server, or with `server_side=False` the client.
    """
    with contextlib.ExitStack() as stack:

        async def by_hand(factory=peers.Recorder, *, server_side=True, contexts=None, **sizes):
            ours, theirs = peers.socket_pair("tcp", **sizes)
            peer = stack.enter_context(peers.Peer(theirs))
            of_server, of_client = contexts or (server_context, client_context)
            tls = peers.TLSPeer(peer, of_client if server_side else of_server, not server_side)
            if server_side:
                opening = loop.connect_accepted_socket(factory, ours, ssl=of_server)
            else:
                opening = peers.connect_tls(loop, (), of_client, factory, sock=ours)
            opening = asyncio.ensure_future(opening)
            await tls.attempt(tls.tls.do_handshake)
            transport, protocol = await opening
            return transport, protocol, tls

        yield by_hand


@pytest.fixture
def blocking_server(server_context):
    """A listener whose one connection is served by `handle(tls socket)` in a thread: TLS by another implementation's loop."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(peers.GUARD_SECONDS)
    threads = []

    def start(handle, wrap=True):
        def run():
            sock, _ = listener.accept()
            sock.settimeout(peers.GUARD_SECONDS)
            with sock:
                if wrap:
                    with server_context.wrap_socket(sock, server_side=True) as tls:
                        handle(tls)
                else:
                    handle(sock)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return listener.getsockname()

    with listener:
        yield start
        for thread in threads:
            thread.join(peers.GUARD_SECONDS)
            assert not thread.is_alive()


@pytest.fixture
def new_datagrams(tmp_path):
    """`new_datagrams(kind)` returns the DatagramSockets of a kind, which are closed at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda kind: peers.DatagramSockets(kind, tmp_path, stack)


@pytest.fixture(params=("inet", "inet6", "unix", "abstract"))
def datagrams(request, new_datagrams):
    """Datagram sockets of each family."""
    return new_datagrams(request.param)


@pytest.fixture
def udp(new_datagrams):
    """Datagram sockets where the family does not matter."""
    return new_datagrams("inet")


@pytest.fixture
def unix_datagrams(new_datagrams):
    """Datagram sockets that know back pressure."""
    return new_datagrams("unix")
