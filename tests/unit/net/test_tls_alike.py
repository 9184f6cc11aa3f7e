"""TLS as asyncio does it: each scenario is run on asyncio's loop and on ours, and leaves the same trace on both.

A trace has what the protocol is told, in its order and with its arguments; what the peer hears; the texts of exceptions; what
the loop reports to its exception handler, with the keys of the context; and what asyncio logs. The peer is TLS by
hand, in the same thread, over a socket whose other end is ours, so that nothing depends on time: a Unix socket, for what goes
over TCP may take a while on its way.
"""

import asyncio
import contextlib
import ctypes
import socket
import ssl
import sys
import weakref

import pytest

from .. import support
from . import peers
from .peers import new_client_context, new_server_context
from .tls_traces import (
    Told,
    ToldBuffered,
    check_alike,
    fail,
    scenario,
    scenarios_of,
)


@pytest.fixture
def loop():
    """Each run has its own."""


# ---- The beginning ----


@scenario
async def both_sides(t):
    for server_side in (True, False):
        transport, protocol, other = await t.connect(server_side=server_side)
        transport.write(b"question")
        await other.hear()
        await other.say(b"answer")
        transport.close()
        await other.hear()
        await other.send(other.goodbye())
        await other.hear()


@scenario
async def names(t):
    for name in (None, "", "localhost", "127.0.0.1", "other.invalid", "x" * 300, "a\0b", "ä.invalid"):
        t.note("name", repr(name))
        with t.noted("connecting"):
            other, opening = t.begin(server_side=False, name=name)
            await t.settle()
            with contextlib.suppress(ssl.SSLError):
                if not opening.done():
                    await other.handshake()
            other.flush()
            await t.settle()
            other.sock.close()
            transport, protocol = await opening
            transport.abort()
        await t.settle()
    support.collect()


@scenario
async def certificate_of_nobody(t):
    other, opening = t.begin(server_side=False, of_client=ssl.create_default_context())
    with t.noted("the peer's handshake"):
        await other.handshake()
        other.pull()
        other.tls.read(1)
    await t.opened(opening)


@scenario
async def certificate_that_the_client_refuses(t):
    other, opening = t.begin(of_client=ssl.create_default_context())
    with t.noted("the peer's handshake"):
        await other.handshake()
    other.flush()
    await t.opened(opening)
    await other.hear()


@scenario
async def certificate_that_is_asked_for(t):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for has in (True, False):
            t.note(version.name, has)
            of_server = new_server_context(verify_mode=ssl.CERT_REQUIRED, maximum_version=version)
            of_server.load_verify_locations(peers.certificate())
            of_client = new_client_context()
            if has:
                of_client.load_cert_chain(peers.certificate())
            other, opening = t.begin(of_server=of_server, of_client=of_client)
            with t.noted("the peer's handshake"):
                await other.handshake()
                await other.hear()
            await t.opened(opening)
            if not opening.exception():
                transport, _ = opening.result()
                t.note(transport.get_extra_info("peercert")["subject"])
                transport.abort()


@scenario
async def no_common_version(t):
    old, new = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    for server_side in (True, False):
        other, opening = t.begin(
            server_side=server_side,
            of_server=new_server_context(minimum_version=new),
            of_client=new_client_context(maximum_version=old),
        )
        with t.noted("the peer's handshake"):
            with contextlib.suppress(ConnectionError):
                await other.handshake()
        with contextlib.suppress(ConnectionError):
            other.flush()
        await t.opened(opening)


@scenario
async def no_common_cipher(t):
    of_server = new_server_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    of_server.set_ciphers("ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-GCM-SHA384")
    of_client = new_client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
    of_client.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256")
    for server_side in (True, False):
        other, opening = t.begin(server_side=server_side, of_server=of_server, of_client=of_client)
        with t.noted("the peer's handshake"):
            await other.handshake()
        other.flush()
        await t.opened(opening)


@scenario
async def no_tls_at_all(t):
    for data in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"220 smtp.invalid\r\n",
        b"\0" * 100,
        b"\x16\x03\x01\xff\xff" + b"x" * 100,
    ):
        for server_side in (True, False):
            t.note(data[:10], server_side)
            other, opening = t.begin(server_side=server_side)
            await t.settle()
            await other.send(data)
            other.sock.shutdown(socket.SHUT_WR)
            await t.opened(opening)
            with contextlib.suppress(ConnectionError):
                t.note("the peer is sent", server_side and other.sock.recv(100))


@scenario
async def alert_in_the_handshake(t):
    for server_side in (True, False):
        for number in (0, 10, 40, 42, 48, 70, 80, 90, 112):
            other, opening = t.begin(server_side=server_side)
            await t.settle()
            await other.send(b"\x15\x03\x03\x00\x02" + bytes((2, number)))
            await t.opened(opening, f"alert {number}")


@scenario
async def hang_up_in_the_handshake(t):
    for server_side in (True, False):
        for sent in (0, 1, 5, 20, 100):
            other, opening = t.begin(server_side=server_side)
            await t.settle()
            other.pull()
            with contextlib.suppress(ssl.SSLWantReadError):
                other.tls.do_handshake()
            await other.send(other.outgoing.read()[:sent])
            await other.hang_up()
            await t.opened(opening)


@scenario
async def reset_in_the_handshake(t):
    for server_side in (True, False):
        other, opening = t.begin(server_side=server_side)
        await t.settle()
        other.pull()
        with contextlib.suppress(ssl.SSLWantReadError):
            other.tls.do_handshake()
        await other.send(other.outgoing.read())
        await other.reset()
        await t.opened(opening)


@scenario
async def handshake_that_takes_too_long(t):
    for server_side in (True, False):
        other, opening = t.begin(server_side=server_side, ssl_handshake_timeout=0.01)
        await t.opened(opening)
        await other.hang_up()


@scenario
async def timeouts_that_are_none(t):
    for name in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
        for value in (0, -1, "x"):
            other, opening = t.begin(**{name: value})
            await t.opened(opening, f"{name} {value!r}")
            support.collect()


@scenario
async def cancelled_in_the_handshake(t):
    for server_side in (True, False):
        other, opening = t.begin(server_side=server_side)
        await t.settle()
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
            t.note("not cancelled")
        await t.settle()
        with contextlib.suppress(ConnectionError):
            t.note("the end:", other.pull())


@scenario
async def exception_in_connection_made(t):
    for server_side in (True, False):
        other, opening = t.begin(Told(t, made=fail), server_side=server_side)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await other.handshake()
        await t.settle()
        if opening.done():  # some wait for ever
            await t.opened(opening)
        opening.cancel()
        await t.settle()
        with contextlib.suppress(ConnectionError):
            await other.hear()
        support.collect()


@scenario
async def closed_by_connection_made(t):
    for how in ("close", "abort"):
        other, opening = t.begin(Told(t, made=lambda self, transport, how=how: getattr(transport, how)()))
        with t.noted("the peer's handshake"):
            await other.handshake()
        await t.opened(opening)
        with t.noted("hearing"):
            await other.hear()


@scenario
async def written_by_connection_made(t):
    transport, protocol, other = await t.connect(
        Told(t, made=lambda self, transport: (transport.write(b"1"), transport.writelines([b"2", b"3"])))
    )
    await other.hear()
    transport.abort()


@scenario
async def paused_by_connection_made(t):
    transport, protocol, other = await t.connect(
        Told(t, made=lambda self, transport: transport.pause_reading())
    )
    await other.say(b"wait")
    t.note(transport.is_reading())
    transport.resume_reading()
    t.note(transport.is_reading())
    await t.settle()
    transport.abort()


@scenario
async def data_with_the_end_of_the_handshake(t):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        other, opening = t.begin(of_client=new_client_context(maximum_version=version))
        while True:
            try:
                other.tls.do_handshake()
            except ssl.SSLWantReadError:
                other.flush()
                await t.settle()
                other.pull()
            else:
                break
        last = other.outgoing.read()
        try:
            await other.send(last + other.seal(b"first words") + other.goodbye())
        except ssl.SSLError:
            await other.send(last)
        await t.opened(opening)


# ---- The end ----


@scenario
async def closing(t):
    for first in ("close", "abort"):
        for second in ("close", "abort", None):
            t.note(first, second)
            transport, protocol, other = await t.connect()
            transport.write(b"last")
            getattr(transport, first)()
            t.note(transport.is_closing())
            if second:
                with t.noted(second):
                    getattr(transport, second)()
            await other.hear()
            with contextlib.suppress(ConnectionError):
                await other.send(other.goodbye())
            await other.hear()


@scenario
async def methods_after_the_end(t):
    for how in ("close", "abort", "close close"):
        t.note(how)
        transport, protocol, other = await t.connect()
        for method in how.split():
            getattr(transport, method)()
        for moment in ("at once", "later"):
            for name, *args in METHODS:
                with t.noted(f"{moment} {name}"):
                    result = getattr(transport, name)(*args)
                    t.note(
                        result
                        if isinstance(result, (bool, int, tuple, type(None)))
                        else type(result).__name__
                    )
            with contextlib.suppress(ConnectionError):
                await other.send(other.goodbye())
            await other.hear()


METHODS = [
    ("is_closing",),
    ("is_reading",),
    ("pause_reading",),
    ("resume_reading",),
    ("write", b"late"),
    ("write", b""),
    ("writelines", [b"late"]),
    ("get_write_buffer_size",),
    ("get_write_buffer_limits",),
    ("set_write_buffer_limits", 10),
    ("get_read_buffer_size",),
    ("get_read_buffer_limits",),
    ("set_read_buffer_limits", 10),
    ("can_write_eof",),
    ("write_eof",),
    ("get_extra_info", "cipher"),
    ("get_extra_info", "peername"),
    ("get_extra_info", "sslcontext"),
    ("get_extra_info", "nothing", 1),
    ("get_protocol",),
    ("set_protocol", None),
    ("close",),
    ("abort",),
]


@scenario
async def peer_says_goodbye(t):
    for data in (b"", b"last words"):
        for hangs_up in (False, True):
            transport, protocol, other = await t.connect()
            sealed = other.seal(data) if data else b""
            other.sock.sendall(sealed + other.goodbye())
            if hangs_up:
                other.sock.shutdown(socket.SHUT_WR)
            await t.settle()
            await other.hear()
            t.note(transport.is_closing())


@scenario
async def peer_hangs_up(t):
    """Without a goodbye, after nothing, whole records, and a part of one."""
    for part in (0, 1, 5, 10, -1, None):
        for paused in (False, True):
            t.note("part", part, paused)
            transport, protocol, other = await t.connect()
            if paused:
                transport.pause_reading()
            other.sock.sendall(other.seal(b"one") + other.seal(b"two")[:part])
            other.sock.shutdown(socket.SHUT_WR)
            await t.settle()
            t.note(transport.is_closing())
            transport.resume_reading()
            await t.settle()
            await other.hear()
            transport.abort()
            await t.settle()


@scenario
async def peer_says_goodbye_to_who_is_paused(t):
    for hangs_up in (False, True):
        transport, protocol, other = await t.connect()
        transport.pause_reading()
        other.sock.sendall(other.seal(b"one") + other.goodbye())
        if hangs_up:
            other.sock.shutdown(socket.SHUT_WR)
        await t.settle()
        transport.write(b"still here")
        await other.hear()
        transport.resume_reading()
        await other.hear()
        transport.abort()


@scenario
async def paused_who_closes(t):
    transport, protocol, other = await t.connect()
    transport.pause_reading()
    await other.say(b"unread")
    transport.close()
    await other.hear()
    await other.send(other.goodbye())
    await other.hear()
    transport.abort()


@scenario
async def peer_resets(t):
    for server_side in (True, False):
        for how in ("nothing", "pause_reading", "write"):
            t.note(how)
            transport, protocol, other = await t.connect(server_side=server_side)
            transport.write(b"unread")
            await t.settle()
            if how == "pause_reading":
                transport.pause_reading()
            await other.reset()
            if how == "write":
                transport.write(b"late")
            elif how == "pause_reading":
                transport.resume_reading()
            await t.settle()
            t.note(transport.is_closing())
            transport.abort()


@scenario
async def peer_resets_who_closes(t):
    transport, protocol, other = await t.connect()
    transport.close()
    await t.settle()
    await other.reset()
    await protocol.lost


@scenario
async def shutdown_that_takes_too_long(t):
    transport, protocol, other = await t.connect(ssl_shutdown_timeout=0.01)
    transport.close()
    await protocol.lost
    await other.hear()


@scenario
async def data_after_close(t):
    """What comes while the goodbye is awaited is for nobody."""
    transport, protocol, other = await t.connect()
    transport.close()
    await t.settle()
    await other.say(b"not heard")
    await other.hear()


@scenario
async def data_after_goodbye(t):
    transport, protocol, other = await t.connect()
    sealed = other.seal(b"late")
    await other.send(other.goodbye() + sealed)
    await other.hear()


@scenario
async def writes_after_the_end(t):
    transport, protocol, other = await t.connect()
    transport.close()
    for _ in range(8):
        transport.write(b"late")
    for _ in range(2):
        transport.writelines([b"late", b"later"])
    await other.hear()
    await other.send(other.goodbye())
    for _ in range(8):
        transport.write(b"late")


@scenario
async def written_and_closed(t):
    transport, protocol, other = await t.connect()
    transport.write(b"1")
    transport.writelines((b"2", bytearray(b"3"), memoryview(b"4")))
    transport.close()
    await other.hear()
    await other.hang_up()
    await other.hear()


@scenario
async def forgotten(t):
    transport, protocol, other = await t.connect()
    protocol.transport = None
    ssl_protocol = weakref.ref(transport._ssl_protocol)
    below = transport._ssl_protocol._transport
    t.transports.clear()
    del transport
    below.abort()
    await t.settle()
    del below, protocol
    await t.settle()
    support.collect()
    t.note("remains:", ssl_protocol())


@scenario
async def unclosed(t):
    """The warning names asyncio's class, whoever made the transport."""
    transport, protocol, other = await t.connect()
    type(transport).__del__(transport)
    t.note(transport.is_closing())
    transport.abort()


# ---- What protocols raise ----


@scenario
async def exceptions_of_the_protocol(t):
    for action in ("data", "eof", "lost", "pause", "resume"):
        t.note(action)
        transport, protocol, other = await t.connect(Told(t, **{action: fail}))
        transport.set_write_buffer_limits(100)
        await other.say(b"data")
        with t.noted("writing"):
            transport.write(bytes(1000))
        await other.hear()
        with contextlib.suppress(ConnectionError):
            await other.send(other.goodbye())
        await other.hear()
        support.collect()


@scenario
async def exceptions_of_the_buffered_protocol(t):
    for actions in (
        {"updated": fail},
        {"get_buffer": fail},
        {"get_buffer": lambda self, size: b"read only"},
        {"get_buffer": lambda self, size: bytearray()},
        {"get_buffer": lambda self, size: None},
        {"get_buffer": lambda self, size: "text"},
    ):
        t.note(*actions)
        transport, protocol, other = await t.connect(ToldBuffered(t, **actions))
        with contextlib.suppress(ConnectionError):
            await other.say(b"data")
        await other.hear()
        transport.abort()
        await t.settle()
        support.collect()


@scenario
async def eof_received_that_is_true(t):
    transport, protocol, other = await t.connect(Told(t, eof=lambda self: True))
    await other.send(other.goodbye())
    await other.hear()


@scenario
async def acts_in_data_received(t):
    for names in (
        "close",
        "abort",
        "pause_reading",
        "close close",
        "pause_reading resume_reading",
        "pause_reading close",
    ):

        def act(self, data, names=names):
            for name in names.split():
                getattr(self.transport, name)()
            self.transport.write(b"x")

        for buffered in (False, True):
            t.note(names, buffered)
            told = ToldBuffered(t, updated=act) if buffered else Told(t, data=act)
            transport, protocol, other = await t.connect(told)
            other.sock.sendall(other.seal(b"one") + other.seal(b"two"))
            await t.settle()
            await other.hear()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await other.say(b"three")
            transport.abort()
            await t.settle()


@scenario
async def another_protocol(t):
    kinds = (Told, ToldBuffered)
    for first in kinds:
        for second in kinds:
            following = second(t, "second ")

            def switch(self, data, following=following):
                self.transport.set_protocol(following)
                following.transport = self.transport

            transport, protocol, other = await t.connect(first(t, data=switch, updated=switch))
            await other.say(b"one")
            t.note(transport.get_protocol() is following)
            await other.say(b"two")
            other.sock.sendall(other.seal(b"three") + other.goodbye())
            await t.settle()


@scenario
async def buffered(t):
    for size in (1, 3, 8, 1000):
        transport, protocol, other = await t.connect(ToldBuffered(t, size=size))
        other.sock.sendall(other.seal(b"twelve bytes") + other.seal(b"and") + other.seal(b"more"))
        await t.settle()
        await other.send(other.goodbye())
        await other.hear()
        transport.abort()


# ---- Writing ----


@scenario
async def what_cannot_be_written(t):
    transport, protocol, other = await t.connect()
    for data in ("text", None, 1, [b"x"], object):
        with t.noted("write"):
            transport.write(data)
    for data in (None, 1, object):
        with t.noted("writelines"):
            transport.writelines(data)
    with t.noted("write_eof"):
        transport.write_eof()
    t.note(transport.can_write_eof())
    transport.write(b"fine")
    await other.hear()
    transport.abort()


@scenario
async def lines_that_cannot_be_written(t):
    for lines in (["text"], [1], [b"1", None], "text", ["text", b"1"]):
        t.note(lines)
        transport, protocol, other = await t.connect()
        with t.noted("writelines"):
            transport.writelines(lines)
        await t.settle()
        await other.hear()
        transport.abort()
        await t.settle()


@scenario
async def limits(t):
    transport, protocol, other = await t.connect()
    for of in ("write", "read"):
        t.note(getattr(transport, f"get_{of}_buffer_limits")())
        for arguments in (
            {},
            {"high": 10},
            {"low": 10},
            {"high": 0},
            {"high": 10, "low": 5},
            {"high": 5, "low": 10},
            {"low": -1},
        ):
            with t.noted(arguments):
                getattr(transport, f"set_{of}_buffer_limits")(**arguments)
            t.note(
                getattr(transport, f"get_{of}_buffer_limits")(), getattr(transport, f"get_{of}_buffer_size")()
            )
    transport.abort()


@scenario
async def lines_of_which_one_is_no_bytes(t):
    """Nothing of all is sent, but what was written before."""
    for lines in ([b"1", "text"], ["text", b"1"], [b"1", bytearray(b"2"), "text", b"3"]):
        for before in (b"", b"before"):
            t.note(before)
            transport, protocol, other = await t.connect()
            transport.write(before)
            with t.noted("writelines"):
                transport.writelines(iter(lines))
            await protocol.lost
            await other.hear()


@scenario
async def limits_after_a_write(t):
    """The write was before, and the kernel has taken it."""
    for limit in (0, 10, 20):
        transport, protocol, other = await t.connect()
        transport.write(b"fifteen letters")
        transport.set_write_buffer_limits(limit)
        t.note(limit, transport.get_write_buffer_size(), transport._protocol_paused)
        await other.hear()
        transport.abort()
        await t.settle()


@scenario
async def high_water(t):
    for limit in (0, 10, 100_000):
        transport, protocol, other = await t.connect()
        transport.set_write_buffer_limits(limit)
        for size in (1, 9, 10, 11, 50_000, 200_000):
            transport.write(bytes(size))
            t.note(size, transport.get_write_buffer_size(), transport._protocol_paused)
            await other.hear()
        transport.abort()
        await t.settle()


@scenario
async def peer_that_reads_late(t):
    transport, protocol, other = await t.connect(asyncio.Protocol())
    transport.write(bytes(20 << 20))
    await t.settle()
    heard = 0
    while heard < 20 << 20:
        other.pull()
        with contextlib.suppress(ssl.SSLWantReadError):
            while True:
                heard += len(other.tls.read(1 << 18))
        await asyncio.sleep(0)
    await t.settle()
    t.note(heard, transport.get_write_buffer_size())


# ---- What is in the records ----


@scenario
async def broken_records(t):
    for server_side in (True, False):
        transport, protocol, other = await t.connect(server_side=server_side)
        sealed = bytearray(other.seal(b"bad"))
        sealed[-1] ^= 1
        await other.send(sealed)
        await other.hear()
        for record in (
            b"\x17\x03\x03\xff\xff" + bytes(100),
            b"\x17\x03\x03\x00\x00",
            b"\x15\x03\x03\x00\x02\x02\x28",
            b"\x18\x03\x03\x00\x02\x02\x28",
            b"GET / HTTP/1.1\r\n\r\n",
        ):
            transport, protocol, other = await t.connect(server_side=server_side)
            await other.send(record)
            await other.hear()
            transport.abort()
            await t.settle()


@scenario
async def broken_records_with_much_to_say(t):
    """What had been said before is heard; the exception comes once."""
    transport, protocol, other = await t.connect(
        Told(t, data=lambda self, data: self.transport.write(b"answer"))
    )
    other.sock.sendall(other.seal(b"question"))
    await t.settle()
    await other.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    await other.hear()


@scenario
async def information(t):
    keys = "sslcontext ssl_object peercert cipher compression peername socket sockname nothing pipe".split()
    for server_side in (True, False):
        other, opening = t.begin(server_side=server_side)
        await other.handshake()
        transport, _ = await opening
        ssl_object = transport.get_extra_info("ssl_object")
        for key in keys:
            value = transport.get_extra_info(key, "default")
            t.note(
                key,
                type(value).__name__.removeprefix("_"),
                value if key in ("cipher", "compression", "peercert", "nothing") else "",
            )
        t.note(
            type(ssl_object).__name__,
            ssl_object.version(),
            ssl_object.server_side,
            ssl_object.server_hostname,
        )
        t.note(ssl_object.context is transport.get_extra_info("sslcontext"), ssl_object.session_reused)
        t.note(ssl_object.selected_alpn_protocol(), ssl_object.compression(), ssl_object.pending())
        t.note(
            ssl_object.getpeercert() == transport.get_extra_info("peercert"),
            ssl_object.shared_ciphers() is None,
        )
        t.note(ssl_object.get_channel_binding("tls-unique") == other.tls.get_channel_binding("tls-unique"))
        with t.noted("channel binding"):
            ssl_object.get_channel_binding("nonsense")
        transport.abort()
        await t.settle()
        for key in keys:
            t.note(key, type(transport.get_extra_info(key, "default")).__name__)


@scenario
async def resumed_session(t):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        session = None

        class Context(ssl.SSLContext):
            def wrap_bio(self, *args, **keywords):
                return super().wrap_bio(*args, **keywords, session=session)

        of_client = Context(ssl.PROTOCOL_TLS_CLIENT)
        of_client.load_verify_locations(peers.certificate())
        of_client.maximum_version = version
        of_server = new_server_context()
        for _ in range(2):
            transport, protocol, other = await t.connect(
                server_side=False, of_client=of_client, of_server=of_server
            )
            await other.say(b"hello")
            ssl_object = transport.get_extra_info("ssl_object")
            session = ssl_object.session
            t.note(version.name, session.has_ticket, ssl_object.session_reused)
            transport.close()
            await other.hear()
            await other.send(other.goodbye())
            await other.hear()


@scenario
async def names_that_the_server_refuses(t):
    def refuse(ssl_object, name, context):
        t.note("asked for", name, type(ssl_object).__name__)
        return ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE

    def raise_(ssl_object, name, context):
        raise ZeroDivisionError

    for callback in (refuse, raise_):
        other, opening = t.begin(of_server=new_server_context(sni_callback=callback))
        hook, sys.unraisablehook = (
            sys.unraisablehook,
            lambda unraisable: t.note("unraisable", unraisable.exc_type),
        )
        try:
            with t.noted("the peer's handshake"):
                await other.handshake()
            await t.opened(opening)
        finally:
            sys.unraisablehook = hook


def structure(ssl_object):
    """OpenSSL's structure, as openssl_library.c finds it, and a function that calls its functions."""
    inside = ssl_object._sslobj
    address = ctypes.c_size_t.from_address(
        id(inside) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)
    ).value
    library = ctypes.CDLL(sys.modules["_ssl"].__file__)

    def call(name, *args):
        return getattr(library, name)(ctypes.c_void_p(address), *map(ctypes.c_int, args))

    return call


needs_openssl = pytest.mark.skipif(
    not hasattr(sys.modules["_ssl"], "__file__"), reason="OpenSSL is inside of the interpreter"
)


@scenario
@needs_openssl
async def new_keys(t):
    """TLS 1.3's KeyUpdate, with and without a request of the same."""
    for server_side in (True, False):
        transport, protocol, other = await t.connect(server_side=server_side)
        for requested in (1, 0, 1):
            t.note("update", structure(other.tls)("SSL_key_update", requested))
            await other.say(b"with new keys")
            transport.write(b"as you like")
            await other.hear()
        transport.close()
        await other.hear()
        await other.send(other.goodbye())
        await other.hear()


@scenario
@needs_openssl
async def negotiated_again(t):
    """TLS 1.2's renegotiation, which only a server may ask for."""
    old = ssl.TLSVersion.TLSv1_2
    transport, protocol, other = await t.connect(
        server_side=False, of_client=new_client_context(maximum_version=old)
    )
    for _ in range(2):
        t.note("renegotiate", structure(other.tls)("SSL_renegotiate"))
        with contextlib.suppress(ssl.SSLWantReadError):
            other.tls.do_handshake()
        other.flush()
        transport.write(b"meanwhile")  # the greeting has not been read
        await t.settle()
        with t.noted("renegotiation"):
            await other.handshake()
        transport.write(b"afterwards")
        await other.say(b"afterwards")
        await other.hear()
    transport.abort()
    await t.settle()
    t.note("of the client")
    transport, protocol, other = await t.connect(of_client=new_client_context(maximum_version=old))
    structure(other.tls)("SSL_renegotiate")
    with contextlib.suppress(ssl.SSLWantReadError):
        other.tls.do_handshake()
    other.flush()
    await other.hear()
    transport.write(b"and on")
    await other.hear()
    transport.abort()


# ---- Comparing ----


@pytest.mark.whole_calls
@pytest.mark.parametrize("name", scenarios_of(__name__))
def test_scenario(monkeypatch, name):
    check_alike(monkeypatch, name)
