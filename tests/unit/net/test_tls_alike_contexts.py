"""What contexts of TLS can be told, and what that makes of connections: scenarios of the kind that test_tls_alike.py has."""

import contextlib
import os
import ssl
import sys
import tempfile

import pytest

from . import peers
from .peers import new_client_context, new_server_context
from .tls_traces import (
    Told,
    check_alike,
    scenario,
    scenarios_of,
)

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


@pytest.fixture
def loop():
    """Each run has its own."""


@contextlib.contextmanager
def unraisables(t):
    """Note what callbacks raise: OpenSSL has no way for it."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: t.note("unraisable", unraisable.exc_type)
    try:
        yield
    finally:
        sys.unraisablehook = hook


async def talk(t, transport, other):
    """Say something both ways, and close."""
    transport.write(b"question")
    await other.hear()
    await other.say(b"answer")
    transport.close()
    await other.hear()
    await other.send(other.goodbye())
    await other.hear()


# ---- Pre-shared keys ----

IDENTITY, KEY = "somebody", b"0123456789abcdef"


def keyed_contexts(t, of_client, of_server, hint=None):
    """Contexts without certificates, whose keys are those that the callbacks give."""
    server, client = (ssl.SSLContext(kind) for kind in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT))
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE

    def asked(who, callback, *args):
        t.note(who, "is asked", *args)
        return callback(*args)

    if of_client:
        client.set_psk_client_callback(lambda *args: asked("client", of_client, *args))
    if of_server:
        server.set_psk_server_callback(lambda *args: asked("server", of_server, *args), hint)
    return server, client


async def by_key(t, version, server_side, *callbacks):
    server, client = keyed_contexts(t, *callbacks)
    for context in (server, client):
        context.minimum_version = context.maximum_version = version
        if version is ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("PSK")
    other, opening = t.begin(server_side=server_side, of_server=server, of_client=client)
    with unraisables(t), t.noted("the peer's handshake"):
        try:
            await other.handshake()
        finally:
            other.flush()
            await t.settle()
    await t.opened(opening)
    if opening.exception():
        await other.hear()
        return None
    transport, _ = opening.result()
    t.transports.append(transport)
    return transport, other


def knows(identity):
    return KEY if identity == IDENTITY else b""


needs_psk = pytest.mark.skipif(
    not getattr(ssl, "HAS_PSK", False), reason="contexts have keys since Python 3.13"
)


@scenario
@needs_psk
async def pre_shared_keys(t):
    for version in VERSIONS:
        for server_side in (True, False):
            for hint in (None, "a hint"):
                t.note(version.name, server_side, hint)
                transport, other = await by_key(
                    t, version, server_side, lambda hint: (IDENTITY, KEY), knows, hint
                )
                ssl_object = transport.get_extra_info("ssl_object")
                t.note(transport.get_extra_info("cipher"), transport.get_extra_info("peercert"))
                t.note(ssl_object.version(), ssl_object.getpeercert(True), ssl_object.session_reused)
                await talk(t, transport, other)


@scenario
@needs_psk
async def keys_that_are_not_shared(t):
    def fail(asked):
        raise ZeroDivisionError

    known = (IDENTITY, KEY)
    for version in VERSIONS:
        for server_side in (True, False):
            for what, of_client, of_server in (
                ("another key", lambda hint: (IDENTITY, KEY[::-1]), knows),
                ("nobody", lambda hint: ("nobody", KEY), knows),
                ("no name", lambda hint: (None, KEY), knows),
                ("empty key", lambda hint: (IDENTITY, b""), knows),
                ("client raises", fail, knows),
                ("server raises", lambda hint: known, fail),
                ("no tuple", lambda hint: known[0], knows),
                ("no bytes", lambda hint: known, lambda identity: "text"),
                ("no client", None, knows),
                ("no server", lambda hint: known, None),
                ("long key", lambda hint: (IDENTITY, bytes(1000)), knows),
            ):
                t.note(what, version.name, server_side)
                if made := await by_key(t, version, server_side, of_client, of_server):
                    await talk(t, *made)


# ---- Names, logs and messages ----


@scenario
async def another_context_for_a_name(t):
    """The server's callback exchanges the context; the transport goes on to name the first."""
    for version in VERSIONS:
        second = new_server_context()
        second.set_alpn_protocols(["second"])

        def exchange(ssl_object, name, context, second=second):
            t.note("asked for", name, type(ssl_object).__name__)
            ssl_object.context = second

        first = new_server_context(sni_callback=exchange)
        first.set_alpn_protocols(["first"])
        of_client = new_client_context(maximum_version=version)
        of_client.set_alpn_protocols(["first", "second"])
        transport, _, other = await t.connect(of_server=first, of_client=of_client)
        ssl_object = transport.get_extra_info("ssl_object")
        t.note(ssl_object.context is second, transport.get_extra_info("sslcontext") is first)
        t.note(ssl_object.selected_alpn_protocol())
        await talk(t, transport, other)


@scenario
async def key_log(t):
    """Both ends log the same secrets, those of renewed keys not among them."""
    with tempfile.TemporaryDirectory() as folder:
        for version in VERSIONS:
            paths = [os.path.join(folder, f"{version.name}-{n}") for n in range(2)]
            of_server, of_client = new_server_context(), new_client_context(maximum_version=version)
            of_server.keylog_filename, of_client.keylog_filename = paths
            for server_side in (True, False):
                transport, _, other = await t.connect(
                    server_side=server_side, of_server=of_server, of_client=of_client
                )
                await talk(t, transport, other)
            logs = []
            for path in paths:
                with open(path) as file:
                    logs.append([line for line in file if not line.startswith("#")])
            t.note(version.name, sorted(logs[0]) == sorted(logs[1]), *[line.split()[0] for line in logs[0]])


@scenario
async def messages(t):
    """What `_msg_callback` is told, of a context that has one, and of one that a name has put in its place."""
    for exchanged in (False, True):
        watched = new_server_context()

        def told(ssl_object, direction, version, content, message, data):
            if content.name != "HEADER":
                t.note(direction, version.name, content.name, message.name, type(ssl_object).__name__)

        watched._msg_callback = told
        of_server = watched
        if exchanged:

            def exchange(ssl_object, name, context, watched=watched):
                ssl_object.context = watched

            of_server = new_server_context(sni_callback=exchange)
        transport, _, other = await t.connect(of_server=of_server)
        await talk(t, transport, other)


@scenario
async def messages_whose_callback_raises(t):
    """Once: of two exceptions in one call CPython keeps the second, and never lets go of the first."""
    for moment in ("handshake", "read", "unwrap"):
        t.note(moment)
        watching = []

        def fail_once(*args, watching=watching):
            if watching:
                watching.clear()
                raise ZeroDivisionError("the callback's")

        of_server = new_server_context()
        of_server._msg_callback = fail_once
        if moment == "handshake":
            watching.append(True)
            other, opening = t.begin(of_server=of_server)
            with t.noted("the peer's handshake"):
                await other.handshake()
            await t.opened(opening)
            continue
        transport, _, other = await t.connect(of_server=of_server)
        watching.append(True)
        if moment == "read":
            await other.say(b"answer")
        else:
            with t.noted("closing"):  # it raises on Python 3.15
                transport.close()
        await other.hear()
        t.note(transport.is_closing())


@scenario
async def many_tickets(t):
    """What a server sends of its own accord after the handshake holds no data."""
    for count in (0, 1, 200):
        transport, _, other = await t.connect(
            server_side=False, of_server=new_server_context(num_tickets=count)
        )
        await other.say(b"hello")
        t.note(count)
        await talk(t, transport, other)


@scenario
async def channel_bindings(t):
    for version in VERSIONS:
        for server_side in (True, False):
            transport, _, other = await t.connect(
                server_side=server_side, of_client=new_client_context(maximum_version=version)
            )
            ssl_object = transport.get_extra_info("ssl_object")
            binding = ssl_object.get_channel_binding()
            t.note(version.name, len(binding), binding == other.tls.get_channel_binding("tls-unique"))
            await talk(t, transport, other)
            t.note(ssl_object.get_channel_binding() == binding)


@scenario
async def asked_for_a_certificate_afterwards(t):
    """verify_client_post_handshake(): of who has a certificate, has none, has never agreed to be asked, and of TLS 1.2."""
    for what in ("certificate", "none", "unasked", "old"):
        of_server = new_server_context(verify_mode=ssl.CERT_OPTIONAL, post_handshake_auth=True)
        of_server.load_verify_locations(peers.certificate())
        of_client = new_client_context(post_handshake_auth=what != "unasked")
        if what == "certificate":
            of_client.load_cert_chain(peers.certificate())
        if what == "old":
            of_client.maximum_version = ssl.TLSVersion.TLSv1_2
        for required in (False, True):
            t.note(what, required)
            transport, _, other = await t.connect(Told(t), of_server=of_server, of_client=of_client)
            ssl_object = transport.get_extra_info("ssl_object")
            with t.noted("asking"):
                ssl_object.verify_client_post_handshake()
            transport.write(b"who are you")
            await other.hear()
            await other.say(b"me")
            cert = ssl_object.getpeercert()
            t.note(cert and cert["subject"])
            t.note(transport.is_closing())


# ---- Comparing ----


@pytest.mark.whole_calls
@pytest.mark.parametrize("name", scenarios_of(__name__))
def test_scenario(monkeypatch, name):
    check_alike(monkeypatch, name)
