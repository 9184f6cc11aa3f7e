"""What encrypts: who chooses it, what is proven before OpenSSL is called, and who gets asyncio's own protocol."""

import asyncio
import contextlib
import ctypes
import os
import pathlib
import ssl
import subprocess
import sys
import sysconfig

import pytest

from asyncio_c import _core

from .. import support
from . import peers
from .peers import Recorder, finish, turns

OVER_TLS = True
ROOT = pathlib.Path(__file__).parents[3]

_ssl = pytest.importorskip("_ssl")
# Where OpenSSL is inside of the interpreter, or threads run without a GIL, only the object engine can be had.
OPENSSL_CAN_BE_HAD = hasattr(_ssl, "__file__") and not sysconfig.get_config_var("Py_GIL_DISABLED")
EXPECTED = {
    "asyncio": None,
    "object": "object",
    "openssl": "openssl" if OPENSSL_CAN_BE_HAD else "object",
}


def engine_of(transport):
    return getattr(transport._ssl_protocol, "_engine", None)


async def test_the_engine_is_the_one_that_was_asked_for(by_hand, impl):
    for server_side in (True, False):
        transport, protocol, tls = await by_hand(server_side=server_side)
        assert engine_of(transport) == EXPECTED[impl.tls]
        transport.abort()
        await protocol.lost()


async def test_classes_are_asyncios(by_hand):
    """aiosmtpd asks for the transport's class; others for the protocol's attributes."""
    transport, protocol, tls = await by_hand()
    assert isinstance(transport, asyncio.sslproto._SSLProtocolTransport)
    ssl_protocol = transport._ssl_protocol
    assert isinstance(ssl_protocol, asyncio.sslproto.SSLProtocol)
    assert isinstance(ssl_protocol, asyncio.BufferedProtocol)
    assert ssl_protocol._sslcontext is transport.get_extra_info("sslcontext")
    assert ssl_protocol._sslobj is transport.get_extra_info("ssl_object")
    assert ssl_protocol._app_protocol is protocol and ssl_protocol._app_transport is transport
    assert ssl_protocol._transport.get_extra_info("socket") is not None
    assert ssl_protocol._state is asyncio.sslproto.SSLProtocolState.WRAPPED
    assert ssl_protocol._write_buffer_size == 0 and list(ssl_protocol._write_backlog) == []
    assert transport._start_tls_compatible and transport.get_protocol() is protocol
    transport.abort()
    await protocol.lost()


async def echo(transport, protocol, tls):
    transport.write(b"question")
    assert await tls.read(8) == b"question"
    tls.peer.send(tls.sealed(b"answer"))
    assert await protocol.bytes(6) == b"answer"
    transport.close()
    await tls.attempt(tls.tls.unwrap)
    tls.peer.close()
    await protocol.lost()


async def test_class_that_adds_to_the_handshake(by_hand, impl, client_context):
    """As truststore's."""
    seen = []

    def do_handshake(self):
        ssl.SSLObject.do_handshake(self)
        seen.append(self.version())

    context = peers.context_of(do_handshake=do_handshake)
    transport, protocol, tls = await by_hand(contexts=(context, client_context))
    assert seen == ["TLSv1.3"]
    assert engine_of(transport) == EXPECTED[impl.tls]
    await echo(transport, protocol, tls)


@pytest.mark.parametrize("gives", (bytes, bytearray))
async def test_class_that_reads_and_writes_itself(by_hand, impl, client_context, gives):
    """It is called for each record."""
    calls = []

    def read(self, *args):
        data = ssl.SSLObject.read(self, *args)
        calls.append("read")
        return gives(data) if isinstance(data, bytes) else data

    def write(self, data):
        calls.append("write")
        return ssl.SSLObject.write(self, data)

    context = peers.context_of(read=read, write=write)
    transport, protocol, tls = await by_hand(contexts=(context, client_context))
    assert engine_of(transport) == (None if impl.tls == "asyncio" else "object")
    await echo(transport, protocol, tls)
    assert {"read", "write"} <= set(calls)


async def test_context_that_makes_something_else(by_hand, impl, client_context):
    """Its wrap_bio() returns what only does as an SSLObject does, and is asked for everything."""
    calls = []

    class Proxy:
        def __init__(self, sslobj):
            self.sslobj = sslobj

        def __getattr__(self, name):
            calls.append(name)
            return getattr(self.sslobj, name)

    class Context(ssl.SSLContext):
        def wrap_bio(self, *args, **keywords):
            return Proxy(super().wrap_bio(*args, **keywords))

    context = peers.new_server_context(Context)
    transport, protocol, tls = await by_hand(contexts=(context, client_context))
    assert engine_of(transport) == (None if impl.tls == "asyncio" else "object")
    assert type(transport.get_extra_info("ssl_object")) is Proxy
    await echo(transport, protocol, tls)
    assert {"do_handshake", "getpeercert", "read", "write", "unwrap"} <= set(calls)


async def test_context_whose_messages_are_watched(by_hand, impl, client_context):
    messages = []
    context = peers.new_server_context()
    context._msg_callback = lambda *args: messages.append(args[1])
    transport, protocol, tls = await by_hand(contexts=(context, client_context))
    assert engine_of(transport) == (None if impl.tls == "asyncio" else "object")
    await echo(transport, protocol, tls)
    assert {"read", "write"} <= set(messages)


async def test_debug_mode_has_asyncios_protocol(loop, by_hand, impl):
    loop.set_debug(True)
    loop.slow_callback_duration = 100
    transport, protocol, tls = await by_hand()
    assert not isinstance(transport._ssl_protocol, _core.TLSProtocol)
    await echo(transport, protocol, tls)
    loop.set_debug(False)


async def test_class_that_somebody_puts_in_the_place_of_asyncios(by_hand, impl, monkeypatch):
    class Own(asyncio.sslproto.SSLProtocol):
        pass

    monkeypatch.setattr(asyncio.sslproto, "SSLProtocol", Own)
    transport, protocol, tls = await by_hand()
    assert type(transport._ssl_protocol) is Own
    await echo(transport, protocol, tls)


def test_unknown_engine(impl, monkeypatch):
    if not impl.native_loop:
        pytest.skip("a variable of ours")
    monkeypatch.setenv("ASYNCIO_C_TLS", "gnutls")
    text = "ASYNCIO_C_TLS is 'gnutls', and must be one of asyncio, object, openssl"
    with pytest.raises(ValueError, match=f"^{text}$"):
        impl.new_event_loop()
    support.collect()


# ---- The proof ----


def new_session(context=None):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    sslobj = (context or peers.client_context()).wrap_bio(incoming, outgoing, server_hostname="localhost")
    return sslobj._sslobj, incoming, outgoing


WORD = ctypes.sizeof(ctypes.c_void_p)
# Behind the head and one reference: openssl_library.c.
PLACE = object.__basicsize__ + WORD


def word_at(address):
    return ctypes.c_size_t.from_address(address)


@pytest.fixture
def prove(impl):
    if impl.tls != "openssl" or not OPENSSL_CAN_BE_HAD:
        pytest.skip("of the openssl engine")
    return _core._prove_openssl


def test_the_structure_proves_itself(prove):
    assert prove(*new_session()) is True


def test_the_place_of_another_session(prove):
    """Whose BIOs are others."""
    ssl_socket, incoming, outgoing = new_session()
    assert prove(new_session()[0], incoming, outgoing) is False
    assert prove(ssl_socket, outgoing, incoming) is False


def test_a_wrong_place_is_found_out(prove):
    """Whatever lies where the structure is expected: nothing, no address, an object, a page, something else of OpenSSL's."""
    ssl_socket, incoming, outgoing = new_session()
    place = word_at(id(ssl_socket) + PLACE)
    true = place.value
    page = ctypes.create_string_buffer(4096)
    wrong = [0, 8, 0xDEAD_BEEF_0000, 2**64 - 8, id(ssl_socket), id(prove), ctypes.addressof(page)]
    wrong += [true + WORD, true + 64 * WORD, word_at(id(incoming) + object.__basicsize__).value]
    try:
        for value in wrong:
            place.value = value
            assert prove(ssl_socket, incoming, outgoing) is False, hex(value)
    finally:
        place.value = true
    assert prove(ssl_socket, incoming, outgoing) is True


def test_objects_that_are_something_else(prove):
    class Two:
        __slots__ = ("first", "second")

    two = Two()
    two.first = two.second = "no structure"
    ssl_socket, incoming, outgoing = new_session()
    for arguments in (
        (two, incoming, outgoing),
        (ssl_socket, two, outgoing),
        (ssl_socket, incoming, object()),
    ):
        assert prove(*arguments) is False


PLANT = """
import asyncio, ctypes, ssl
import asyncio_c
from asyncio_c import tls
from tests.unit.net import peers
from tests.unit.net.test_tls_engines import PLACE, word_at

class Context(ssl.SSLContext):
    def wrap_bio(self, *args, **kwargs):
        sslobj = super().wrap_bio(*args, **kwargs)
        word = word_at(id(sslobj._sslobj) + PLACE)
        planted.append((word, word.value))
        word.value = 0xDEADBEEF0000
        return sslobj

planted = []

async def main():
    loop = asyncio.get_running_loop()
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    waiter = loop.create_future()
    protocol = tls.new_protocol(loop, asyncio.Protocol(), context, waiter, False, "localhost")
    for word, value in planted:
        word.value = value
    print(protocol._engine)
    # The proof is made once: nobody gets the openssl engine in this process any more.
    planted.clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    other = tls.new_protocol(loop, asyncio.Protocol(), context, waiter, False, "localhost")
    print(other._engine)
    protocol._app_transport._closed = other._app_transport._closed = True
    waiter.cancel()

asyncio_c.run(main())
"""


def test_a_wrong_place_has_the_object_engine_chosen(prove):
    command = [sys.executable, "-c", PLANT]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ, ASYNCIO_C_TLS="openssl"), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr, done.stdout.split()) == (0, "", ["object", "object"])


# ---- Attributes that tests and libraries set ----


async def test_another_object_in_the_place_of_the_session(by_hand, impl):
    """asyncio's own tests put a mock there; it is driven by its methods."""
    transport, protocol, tls = await by_hand()

    class Fake:
        data = [b"said", b""]
        written = []

        def read(self, size, buffer=None):
            return self.data.pop(0) if self.data else b""

        def write(self, data):
            self.written.append(bytes(data))
            return len(data)

        def pending(self):
            return sum(map(len, self.data))

        def unwrap(self):
            pass

    fake = Fake()
    transport._ssl_protocol._sslobj = fake
    transport.write(b"written")
    await turns(1)
    assert fake.written == [b"written"]
    tls.peer.send(tls.sealed(b"whatever"))
    await protocol.lost()
    assert protocol.received == b"said"


async def test_attributes_that_are_deleted(by_hand, impl, reports):
    if impl.tls == "asyncio":
        pytest.skip("asyncio's objects have them in a dictionary")
    for name in ("_app_protocol", "_transport", "_loop"):
        transport, protocol, tls = await by_hand()
        below = transport._ssl_protocol._transport
        setattr(transport._ssl_protocol, name, None)
        with contextlib.suppress(RuntimeError):
            transport.write(b"x")
        tls.peer.send(tls.sealed(b"x"))
        await turns(5)
        below.abort()
        tls.peer.close()
        transport._closed = True
        await turns(20)
        reports.clear()


async def test_idle_connections_hold_no_data(loop, serve, client_context, impl):
    """Whatever the size of what went through."""
    if impl.tls != "openssl" or EXPECTED["openssl"] != "openssl":
        pytest.skip("the other engines have OpenSSL's memory BIOs")
    address, protocols, stop = await serve(
        lambda: Recorder(data=lambda self, data: self.transport.write(data))
    )
    transport, protocol = await peers.connect_tls(loop, address, client_context)
    transport.write(bytes(1 << 20))
    await protocol.bytes(1 << 20)
    for ssl_protocol in (transport._ssl_protocol, protocols[0].transport._ssl_protocol):
        assert ssl_protocol._get_read_buffer_size() == ssl_protocol._get_write_buffer_size() == 0
    await finish(transport, protocol)
    await protocols[0].lost()
    await stop()
