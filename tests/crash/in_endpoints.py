"""Datagram endpoints, pipes, processes, signals, TLS and files that are sent, with protocols and objects that work against them."""

import asyncio
import collections
import gc
import os
import signal
import socket
import tempfile

from tests.torture.programs import tls_contexts

from .table import Recorder, attempt, case, cases, connected, new_loop, pair, turns


def fields(transport):
    """The names of what a program can set on a transport, which its methods work on."""
    return [name for name in dir(transport) if name.startswith("_") and not name.startswith("__")]


def delete_fields(transport):
    for name in fields(transport):
        attempt(delattr, transport, name)
    gc.collect()


def unset_fields(transport):
    for name in fields(transport):
        if not callable(getattr(transport, name, None)):
            attempt(setattr, transport, name, None)
    gc.collect()


ACTS = {
    "raises": lambda self: 1 / 0,
    "closes": lambda self: self.transport.close(),
    "aborts": lambda self: self.transport.abort(),
    "pauses": lambda self: self.transport.pause_reading(),
    "swaps": lambda self: self.transport.set_protocol(None),
    "sends": lambda self: self.send(),
    "forgets": lambda self: (self.__dict__.clear(), gc.collect()),
    "deletes_fields": lambda self: delete_fields(self.transport),
    "unsets_fields": lambda self: unset_fields(self.transport),
    "loses_the_connection": lambda self: self.transport._call_connection_lost(None),
    "stops_the_loop": lambda self: self.loop.stop(),
    "closes_the_core_of_the_loop": lambda self: getattr(self.loop, "_close", int)(),
    "runs_a_turn": lambda self: (self.loop.call_soon(int), self.loop._run_once()),
    "reads_again": lambda self: self.transport._read_ready(),
}


class ActsAlways:
    """A protocol that does `act` in each of its methods, a few times."""

    def __init__(self, loop, act, send=None):
        self.loop, self.act, self.send, self.left = loop, act, send, 20

    def connection_made(self, transport):
        self.transport = transport
        self.method()

    def method(self, *args):
        if getattr(self, "left", 0) > 0:
            self.left -= 1
            self.once()

    def once(self):
        self.act(self)

    data_received = eof_received = connection_lost = pause_writing = resume_writing = method
    datagram_received = error_received = method
    pipe_data_received = pipe_connection_lost = process_exited = method


class Acts(ActsAlways, asyncio.Protocol, asyncio.DatagramProtocol):
    """Keeps every second exception to itself."""

    def once(self):
        attempt(self.act, self) if self.left % 2 else self.act(self)


def leave(loop):
    """End without what a case may have made unusable."""
    attempt(turns, loop, 3)
    attempt(loop.close)
    gc.collect()
    os._exit(0)


# ---- Datagrams ----


@cases("datagram_protocol", ACTS)
def datagram_protocol(impl, act):
    with new_loop(impl) as loop, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        theirs = peer.getsockname()

        def send():
            protocol.transport.sendto(b"x" * 1000, theirs)

        protocol = Acts(loop, act, send)
        opening = loop.create_datagram_endpoint(lambda: protocol, local_addr=("127.0.0.1", 0))
        transport = attempt(loop.run_until_complete, opening)
        if isinstance(transport, Exception):
            leave(loop)
        transport = transport[0]
        ours = attempt(transport.get_extra_info, "sockname")
        for _ in range(5):
            attempt(transport.sendto, b"x", theirs)
            attempt(transport.sendto, b"x", ("127.0.0.1", 1))
            for _ in range(3):
                attempt(peer.sendto, b"y", ours)
            attempt(turns, loop, 3)
        attempt(transport.abort)
        leave(loop)


class Compares:
    """An address, and a key of a dictionary, whose comparison does something."""

    def __init__(self, action, answer):
        self.action, self.answer = action, answer

    def __eq__(self, other):
        del other
        self.action()
        return self.answer

    def __bool__(self):
        self.action()
        return True

    def __hash__(self):
        return hash("peername")


def delete_address(transport):
    attempt(delattr, transport, "_address")
    gc.collect()


def replace_address(transport):
    transport._address = None
    gc.collect()


@cases("datagram_address", {"is_deleted": delete_address, "is_replaced": replace_address})
def datagram_address(impl, change):
    with new_loop(impl) as loop:
        opening = loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("127.0.0.1", 9))
        transport, _ = loop.run_until_complete(opening)
        own = transport._address
        for answer in (True, False, NotImplemented):
            for address in own, Compares(int, answer):
                transport._address = address
                del address
                attempt(transport.sendto, b"x", Compares(lambda: change(transport), answer))
            transport._address = Compares(lambda: change(transport), answer)
            attempt(transport.sendto, b"x", ("127.0.0.1", 9))
        transport.abort()
        turns(loop, 3)


@case
def extra_dictionary_vanishes_in_its_comparison(impl):
    with new_loop(impl) as loop:
        opening = loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        transport, _ = loop.run_until_complete(opening)
        with connected(loop, Recorder()) as (stream, _):
            for one in (transport, stream):
                for answer in (False, NotImplemented):
                    one._extra = {Compares(lambda one=one: setattr(one, "_extra", {}), answer): 1}
                    attempt(one.sendto, b"x", ("127.0.0.1", 9)) if one is transport else None
                    attempt(one.get_extra_info, "peername")
        transport.abort()
        turns(loop, 3)


# ---- Pipes ----


@cases("pipe_protocol", ACTS)
def pipe_protocol(impl, act):
    with new_loop(impl) as loop:
        for ours_reads in (True, False):
            read_end, write_end = os.pipe()
            files = open(read_end, "rb", 0), open(write_end, "wb", 0)

            def send():
                protocol.transport.write(b"x" * 200_000)

            protocol = Acts(loop, act, send)
            connect = loop.connect_read_pipe if ours_reads else loop.connect_write_pipe
            opening = connect(lambda protocol=protocol: protocol, files[not ours_reads])
            transport = attempt(loop.run_until_complete, opening)
            if isinstance(transport, Exception):
                continue
            transport = transport[0]
            os.set_blocking(files[ours_reads].fileno(), False)
            for _ in range(5):
                attempt(files[1].write, b"y") if ours_reads else attempt(transport.write, b"x" * 100_000)
                attempt(turns, loop, 3)
                attempt(files[0].read, 100_000) if not ours_reads else None
                attempt(turns, loop, 3)
            attempt(files[ours_reads].close)
            attempt(turns, loop, 5)
            attempt(transport.close)
            attempt(turns, loop, 5)
        leave(loop)


# ---- Processes ----


class ProcessActs(ActsAlways, asyncio.SubprocessProtocol):
    def __init__(self, loop, act):
        super().__init__(loop, act, lambda: self.transport.get_pipe_transport(0).write(b"x"))


PROCESS_ACTS = {
    "raises": ACTS["raises"],
    "closes": ACTS["closes"],
    "kills": lambda self: self.transport.kill(),
    "sends": ACTS["sends"],
    "forgets": ACTS["forgets"],
    "stops_the_loop": ACTS["stops_the_loop"],
    "waits_for_it_itself": lambda self: (self.transport.kill(), os.waitpid(self.transport.get_pid(), 0)),
    "closes_its_pidfd": lambda self: [os.close(fd) for fd in getattr(self.loop, "_pidfds", ())],
    "closes_its_pipes": lambda self: [self.transport.get_pipe_transport(n).close() for n in range(3)],
}


@cases("process_protocol", PROCESS_ACTS)
def process_protocol(impl, act):
    with new_loop(impl) as loop:
        starting = loop.subprocess_exec(lambda: ProcessActs(loop, act), "/bin/cat")
        started = attempt(loop.run_until_complete, starting)
        if isinstance(started, Exception):
            leave(loop)
        transport = started[0]
        attempt(transport.get_pipe_transport(0).write, b"x")
        attempt(turns, loop, 10)
        attempt(transport.get_pipe_transport(0).close)
        attempt(transport.kill)
        for _ in range(20):
            attempt(loop.run_until_complete, asyncio.sleep(0.001))
        attempt(transport.close)
        leave(loop)


# ---- Signals, readers and writers ----


@case
def signal_handler_acts(impl):
    with new_loop(impl) as loop:

        def raises():
            raise ZeroDivisionError

        def removes():
            loop.remove_signal_handler(signal.SIGUSR1)
            gc.collect()

        def again():
            loop.add_signal_handler(signal.SIGUSR1, int)
            os.kill(os.getpid(), signal.SIGUSR1)

        for handler in (raises, removes, again, loop.stop, getattr(loop, "_close", loop.stop)):
            attempt(loop.add_signal_handler, signal.SIGUSR1, handler)
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGUSR1) if signal.getsignal(signal.SIGUSR1) else None
                signal.signal(signal.SIGUSR1, signal.getsignal(signal.SIGUSR1) or signal.SIG_IGN)
                attempt(turns, loop, 3)
            if signal.getsignal(signal.SIGUSR1) in (signal.SIG_DFL, None):
                signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        for number in (-1, 0, 9, 65, 1 << 31, 1 << 63, None, "x", 1.5):
            attempt(loop.add_signal_handler, number, int)
            attempt(loop.remove_signal_handler, number)
        leave(loop)


@case
def readers_remove_and_close_each_other(impl):
    """All are ready at once; the first that is told takes the others away, closes them, and gives their numbers to new ones."""
    with new_loop(impl) as loop:
        pairs = [pair() for _ in range(30)]

        def act(n):
            for ours, theirs in pairs[n + 1 :: 2]:
                attempt(loop.remove_reader, ours)
                attempt(loop.remove_writer, ours)
                ours.close()
            pairs.extend(pair() for _ in range(3))
            for ours, _ in pairs[-3:]:
                loop.add_reader(ours, int)
            gc.collect()

        for n, (ours, theirs) in enumerate(pairs[:]):
            theirs.send(b"x")
            loop.add_reader(ours, act, n)
            loop.add_writer(ours, act, n)
        turns(loop, 5)
        for ours, theirs in pairs:
            attempt(loop.remove_reader, ours)
            attempt(loop.remove_writer, ours)
            ours.close()
            theirs.close()


@case
def reader_is_replaced_while_it_is_cancelled(impl):
    """What a replaced handle held ends, and replaces the one that has just taken its place."""
    with new_loop(impl) as loop:
        ours, theirs = pair()

        class Replaces:
            left = 50

            def __call__(self):
                pass

            def __del__(self):
                Replaces.left -= 1
                if Replaces.left > 0:
                    attempt(loop.add_reader, ours, Replaces())
                    attempt(loop.add_writer, ours, Replaces())
                    attempt(loop.remove_reader, ours) if Replaces.left % 3 == 0 else None

        with ours, theirs:
            theirs.send(b"x")
            for _ in range(5):
                attempt(loop.add_reader, ours, Replaces())
                attempt(loop.add_writer, ours, Replaces())
                attempt(turns, loop, 2)
            Replaces.left = 0
            loop.remove_reader(ours)
            loop.remove_writer(ours)


# ---- What a socket object may do ----


class Socket:
    """In a socket's place, with an action in each of its methods."""

    def __init__(self, sock, action):
        self.sock, self.action = sock, action

    def __getattr__(self, name):
        self.action(self)
        return getattr(self.sock, name)

    def fileno(self):
        self.action(self)
        return self.sock.fileno()


SOCKET_ACTIONS = {
    "deletes_fields": lambda self: delete_fields(self.transport),
    "unsets_fields": lambda self: unset_fields(self.transport),
    "opens_it_again": lambda self: self.again(),
    "raises": lambda self: 1 / 0,
}


@cases("socket_object", SOCKET_ACTIONS, stock="asserts and attribute errors of its own leave it half open")
def socket_object(impl, action):
    """The transport's __init__() and its end ask the socket, which knows the transport already."""
    with new_loop(impl) as loop:
        with connected(loop, Recorder()) as (transport, _):
            kind = type(transport)
        for calls in range(12):
            ours, theirs = pair()
            left = [calls]

            def sometimes(sock, left=left):
                left[0] -= 1
                if left[0] == 0:
                    action(sock)

            class Server:
                def _attach(self, *args):
                    attempt(sometimes, sock)

                _detach = _attach

            sock = Socket(ours, sometimes)
            sock.transport = made = kind.__new__(kind)
            sock.again = lambda: made.__init__(loop, ours, Recorder())
            attempt(made.__init__, loop, sock, Recorder(), None, {"a": 1}, Server())
            attempt(turns, loop, 3)
            attempt(theirs.send, b"x")
            attempt(turns, loop, 3)
            attempt(made.write_eof)
            attempt(made.abort)
            attempt(turns, loop, 3)
            attempt(made._call_connection_lost, None)
            ours.close()
            theirs.close()
        leave(loop)


EXTRAS = {
    "list": [],
    "number": 5,
    "string": "x",
    "user_dictionary": collections.UserDict(peername=1),
}


@cases("extra_is_a", EXTRAS)
def extra_is_a(impl, extra):
    with new_loop(impl) as loop:
        ours, theirs = pair()
        with ours, theirs:
            made = attempt(loop._make_socket_transport, ours, Recorder(), extra=extra)
            assert not isinstance(made, SystemError), made
            attempt(turns, loop, 3)
            if not isinstance(made, Exception):
                attempt(made.get_extra_info, "socket")
                attempt(made.abort)
            attempt(turns, loop, 3)
        leave(loop)


# ---- Files and TLS ----


@cases("sendfile_and", {name: act for name, act in ACTS.items() if name != "reads_again"})
def sendfile_and(impl, act):
    with new_loop(impl) as loop, tempfile.TemporaryFile() as file:
        file.write(bytes(2_000_000))
        protocol = Acts(loop, lambda self: None)
        ours, theirs = pair()
        made = loop.run_until_complete(loop.create_connection(lambda: protocol, sock=ours))
        theirs.setblocking(False)
        sending = loop.create_task(loop.sendfile(made[0], file))
        attempt(turns, loop, 2)
        protocol.send = lambda: made[0].write(b"x")
        attempt(act, protocol)
        for _ in range(20):
            attempt(theirs.recv, 1_000_000)
            attempt(turns, loop, 1)
        attempt(sending.cancel)
        attempt(turns, loop, 2)
        attempt(sending.exception) if sending.done() and not sending.cancelled() else None
        leave(loop)


@cases(
    "tls_protocol", {name: ACTS[name] for name in ("raises", "closes", "aborts", "swaps", "sends", "forgets")}
)
def tls_protocol(impl, act):
    serving, asking = tls_contexts()
    with new_loop(impl) as loop:
        ours, theirs = socket.socketpair()

        def acts():
            protocol = Acts(loop, act, lambda: protocol.transport.write(b"x" * 100_000))
            return protocol

        async def main():
            accepting = loop.create_task(loop.connect_accepted_socket(acts, theirs, ssl=serving))
            connecting = loop.create_connection(acts, sock=ours, ssl=asking, server_hostname="localhost")
            return await asyncio.gather(accepting, connecting, return_exceptions=True)

        made = attempt(loop.run_until_complete, asyncio.wait_for(main(), 5))
        for _ in range(10):
            attempt(turns, loop, 2)
            for one in made if isinstance(made, list) else ():
                attempt(lambda one=one: one[0].write(b"y"))
        leave(loop)
