"""TLS in C, by each engine: protocols, sessions and contexts that work against it while it reads, writes, begins and ends."""

import asyncio
import functools
import gc
import socket
import ssl

from tests.torture.programs import ENGINES, PEM, new_tls_contexts, tls_contexts

from .in_endpoints import ACTS, Acts, delete_fields, leave, unset_fields
from .table import attempt, cases, new_loop, turns


class Anything:
    """Whatever is asked of it, it answers with itself, or not at all."""

    def __getattr__(self, name):
        return self

    def __call__(self, *args, **kwargs):
        return self


VALUES = (None, 0, -1, 2**70, "text", b"bytes", bytearray(b"x"), [], Anything(), ssl.MemoryBIO(), object)


def of_protocol(change):
    return lambda self: change(self.transport._ssl_protocol)


def set_all(protocol):
    """Every attribute, to everything."""
    for name in dir(protocol):
        if name.startswith("_") and not name.startswith("__"):
            for value in VALUES:
                attempt(setattr, protocol, name, value)


def call_all(protocol):
    """Every method, with everything."""
    for name in dir(type(protocol)):
        if not name.startswith("__"):
            method = getattr(protocol, name, None)
            if callable(method):
                attempt(method)
                for value in VALUES:
                    attempt(method, value)


def forget_session(protocol):
    protocol._sslobj = None
    gc.collect()


def start_again(protocol):
    for openssl in (True, False, True):
        attempt(protocol._start_session, openssl)


def read_in_the_middle(protocol):
    attempt(protocol._sslobj.read, 10)
    attempt(protocol._sslobj.write, b"x")
    attempt(protocol._do_read)
    attempt(protocol._do_write)
    attempt(protocol._feed, b"\x17\x03\x03\xff\xff" * 100)
    attempt(protocol.get_buffer, -1)
    attempt(protocol.buffer_updated, 1 << 20)


OF_PROTOCOL = {
    "sets_all": set_all,
    "calls_all": call_all,
    "deletes_its_fields": delete_fields,
    "unsets_its_fields": unset_fields,
    "forgets_its_session": forget_session,
    "starts_again": start_again,
    "reads_in_the_middle": read_in_the_middle,
    "loses_the_connection_below": lambda protocol: protocol._transport._call_connection_lost(None),
    "breaks_off_below": lambda protocol: protocol._transport.abort(),
    "begins_anew": lambda protocol: protocol.__init__(
        "openssl", protocol._loop, protocol, protocol._sslcontext, None
    ),
}
ALL = {
    **{name: act for name, act in ACTS.items() if name != "reads_again"},
    **{name: of_protocol(act) for name, act in OF_PROTOCOL.items()},
}


# Seconds; an act may leave a handshake that neither end goes on with, and what is made of it is all that is looked at.
STALLED = 0.5


def both_ends(loop, factory, of_server, of_client):
    """The transports of a connection within the loop, or what came instead."""
    ours, theirs = socket.socketpair()

    async def main():
        accepting = loop.create_task(loop.connect_accepted_socket(factory, theirs, ssl=of_server))
        connecting = loop.create_connection(factory, sock=ours, ssl=of_client, server_hostname="localhost")
        return await asyncio.gather(accepting, connecting, return_exceptions=True)

    made = attempt(loop.run_until_complete, asyncio.wait_for(main(), STALLED))
    return [one[0] for one in made if isinstance(one, tuple)] if isinstance(made, list) else []


def use(loop, transports):
    for round in range(10):
        for transport in transports:
            attempt(transport.write, b"y" * (1 if round % 2 else 200_000))
        attempt(turns, loop, 2)
    for transport in transports:
        attempt(transport.close)
    attempt(turns, loop, 5)


def protocol_that_acts(impl, act, engine):
    with new_loop(impl) as loop:
        loop._tls_engine = engine

        def factory():
            protocol = Acts(loop, act, lambda: protocol.transport.write(b"x" * 100_000))
            return protocol

        use(loop, both_ends(loop, factory, *tls_contexts()))
        leave(loop)


def session_that_acts(impl, act, engine):
    """Methods of an SSLObject's class, which run in the middle of what is read and written."""
    acting = []

    class Object(ssl.SSLObject):
        def act(self):
            if len(acting) < 40 and transports:
                acting.append(1)
                user = Acts(loop, act, lambda: transports[0].write(b"x" * 100_000))
                user.transport = transports[0]
                attempt(act, user)

        def read(self, *args):
            self.act()
            return super().read(*args)

        def write(self, data):
            result = super().write(data)
            self.act()
            return result

        def unwrap(self):
            self.act()
            return super().unwrap()

    class Context(ssl.SSLContext):
        sslobject_class = Object

    transports = []
    of_server = Context(ssl.PROTOCOL_TLS_SERVER)
    of_server.load_cert_chain(PEM)
    with new_loop(impl) as loop:
        loop._tls_engine = engine
        transports += both_ends(loop, asyncio.Protocol, of_server, tls_contexts()[1])
        use(loop, transports)
        leave(loop)


def name_callback_that_acts(impl, act, engine):
    """SNI's callback, which OpenSSL calls in the middle of the handshake."""

    def callback(sslobj, name, context):
        for protocol in gc.get_objects():
            if isinstance(protocol, asyncio.sslproto.SSLProtocol) and protocol._server_side:
                user = Acts(loop, act, lambda: None)
                user.transport = protocol._app_transport
                attempt(act, user)

    of_server, of_client = new_tls_contexts()
    of_server.sni_callback = callback
    with new_loop(impl) as loop:
        loop._tls_engine = engine
        use(loop, both_ends(loop, asyncio.Protocol, of_server, of_client))
        leave(loop)


# Who calls the session within the callback for the name enters OpenSSL again, which ends in memory that is freed twice: that is
# CPython's, whatever the loop.
OF_NAMES = {name: act for name, act in ALL.items() if name not in ("calls_all", "reads_in_the_middle")}
for _engine in ENGINES:
    for _name, _function, _acts in (
        ("tls_protocol", protocol_that_acts, ALL),
        ("tls_session", session_that_acts, ALL),
        ("tls_name_callback", name_callback_that_acts, OF_NAMES),
    ):
        cases(f"{_name}_{_engine}", _acts)(functools.partial(_function, engine=_engine))
