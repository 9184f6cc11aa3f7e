"""serve(): a thread that answers `python -m asyncio_c ps` and `top`, also while a loop is blocked.

The thread polls its sockets, and no client can keep it or the loops: a question is short and has to come in time, the answer has to
be taken in time, and there are few clients at once. While it looks at many tasks it gives the interpreter to others now and then.
What is looked at goes on running meanwhile.

A forked child is not served, and its copies of the sockets are closed: it has a socket of its own when it calls serve(), or, with
ASYNCIO_C_MONITOR=1, makes a loop.
"""

from __future__ import annotations

import atexit
import os
import select
import socket
import struct
import threading
import time
import warnings
from collections.abc import Callable, Iterable

from asyncio_c import _core

from . import answers, places, protocol

MAX_CLIENTS = 8
PATIENCE = 2.0  # seconds that a client has for its question, and again for taking the answer
PAUSE = 0.2  # seconds in which nobody is let in after that has failed: where descriptors are lacking, they will for a while


class _Client:
    """A connection: first the question comes, then the answer goes."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.question = b""
        self.answer: memoryview[int] | None = None
        self.wait()

    def wait(self) -> None:
        self.deadline = time.monotonic() + PATIENCE

    def receive(self) -> bool:
        """Take what has come; whether it goes on."""
        data = self.connection.recv(protocol.MAX_QUESTION + 1 - len(self.question))
        if not data:
            return False
        self.question += data
        line, end, _ = self.question.partition(b"\n")
        if end:
            self._answer(answers.to(line))
        elif len(self.question) > protocol.MAX_QUESTION:
            self._answer(
                [answers.refusal(f"a question to the monitor has at most {protocol.MAX_QUESTION} bytes")]
            )
        return True

    def _answer(self, parts: Iterable[bytes]) -> None:
        self.answer = memoryview(b"".join(parts))
        self.wait()

    def send(self) -> bool:
        """Send what can be sent; whether it goes on."""
        assert self.answer is not None
        sent = self.connection.send(self.answer)
        self.answer = self.answer[sent:]
        return len(self.answer) > 0


def _may_ask(connection: socket.socket) -> bool:
    """Return whether the user at the other end is this one, or root, as the kernel says."""
    _, uid, _ = struct.unpack(
        "iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    )
    return uid in (0, os.geteuid())


class _Server:
    """The thread and its sockets. Raises OSError, and PermissionError where the folder is not to be trusted."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.users = 0  # calls of serve() that were not closed
        self.folder = places.open_own_folder()
        try:
            self.folder.remove_dead()
            self.listener = self.folder.listen(self.pid)
        except BaseException:
            self.folder.close()
            raise
        self.listener.setblocking(False)
        self.bell, self.ringer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.clients: dict[int, _Client] = {}
        self.closed_until = 0.0  # nobody is let in
        # A program that closes all descriptors closes these, and may give their numbers to its own files.
        self.files = {fd: _core._file_identity(fd) for fd in self._descriptors()}
        self.thread = threading.Thread(target=self._run, name="asyncio_c monitor", daemon=True)
        _core._note_births(True)
        try:
            self.thread.start()
        except BaseException:
            self._end()
            raise

    def _descriptors(self) -> list[int]:
        return [self.folder.fd, self.listener.fileno(), self.bell, self.ringer]

    def _is_intact(self) -> bool:
        return all(_core._file_is(fd, identity) for fd, identity in self.files.items())

    def close(self) -> None:
        """End the thread and remove the socket."""
        if _core._file_is(self.ringer, self.files[self.ringer]):
            os.write(self.ringer, b"x")
        if threading.current_thread() is not self.thread:
            self.thread.join()

    def forget(self) -> None:
        """Close what a forked child has of it."""
        for client in self.clients.values():
            client.connection.close()
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        _core._note_births(False)
        self.listener.detach()
        self.folder.fd = -1
        for fd, identity in self.files.items():
            if _core._file_is(fd, identity):
                os.close(fd)

    # ---- In the thread ----

    def _run(self) -> None:
        try:
            while self._is_intact() and self._turn():
                pass
        finally:
            self._end()

    def _end(self) -> None:
        for client in self.clients.values():
            client.connection.close()
        self.clients.clear()
        if self._is_intact():
            self.folder.remove(places.socket_name(self.pid))
        self._close_descriptors()

    def _turn(self) -> bool:
        """Wait for something and do it; whether to go on."""
        poller = select.poll()
        poller.register(self.bell, select.POLLIN)
        if len(self.clients) < MAX_CLIENTS and time.monotonic() >= self.closed_until:
            poller.register(self.listener, select.POLLIN)
        for fd, client in self.clients.items():
            poller.register(fd, select.POLLIN if client.answer is None else select.POLLOUT)
        happened = {fd for fd, _ in poller.poll(self._milliseconds_left())}
        if self.bell in happened or not self._is_intact():
            return False
        for fd, client in list(self.clients.items()):
            if fd in happened:
                goes_on = self._try(client.receive if client.answer is None else client.send)
            else:
                goes_on = time.monotonic() < client.deadline
            if not goes_on:
                del self.clients[fd]
                client.connection.close()
        if self.listener.fileno() in happened and not self._try(self._accept):
            self.closed_until = time.monotonic() + PAUSE
        return True

    def _milliseconds_left(self) -> int | None:
        """Return for how long there is nothing to do by itself; None: for ever."""
        now = time.monotonic()
        deadlines = [client.deadline for client in self.clients.values()]
        if now < self.closed_until:
            deadlines.append(self.closed_until)
        return max(0, int((min(deadlines) - now) * 1000) + 1) if deadlines else None

    @staticmethod
    def _try(step: Callable[[], bool]) -> bool:
        """Return what it returns, and false where its client, or memory, fails: that ends with this client."""
        try:
            return step()
        except BlockingIOError:
            return True
        except (OSError, MemoryError):
            return False

    def _accept(self) -> bool:
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        if _may_ask(connection):
            self.clients[connection.fileno()] = _Client(connection)
        else:
            connection.close()
        return True


# ---- One for the process ----

_lock = threading.RLock()  # a signal's handler may close what is being closed
_server: _Server | None = None
_is_asked = False  # by ASYNCIO_C_MONITOR, which is for ever
_is_registered = False


class Serving:
    """What serve() returns: until it is closed, this process can be looked at. A context manager."""

    def __init__(self, server: _Server) -> None:
        self._server: _Server | None = server
        server.users += 1

    def close(self) -> None:
        """Stop serving, unless serve() was called elsewhere, too. Does nothing the second time, or in a forked child."""
        global _server
        with _lock:
            server, self._server = self._server, None
            if server is None or server is not _server:
                return
            server.users -= 1
            if server.users == 0:
                _server = None
                server.close()  # before another one may have the same place

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve() -> Serving:
    """Let `python -m asyncio_c ps PID` and `top PID` look at this process, until what is returned is closed.

    It costs a thread that sleeps until it is asked. Several calls share it. Nobody but this user and root gets an answer.
    Raises OSError: FileExistsError if another interpreter of this process serves, PermissionError if the folder of the sockets is
    a link, another user's, or open to others.
    """
    global _server, _is_registered
    with _lock:
        if _server is None or not _server.thread.is_alive():
            _server = _Server()
        if not _is_registered:
            _is_registered = True
            os.register_at_fork(after_in_child=_forget_parents)
            atexit.register(_close_at_exit)
        return Serving(_server)


def serve_as_asked(value: str) -> None:
    """Do what ASYNCIO_C_MONITOR says, when a loop is made: serve for as long as the process lives.

    A failure is a RuntimeWarning, and the program goes on.
    """
    global _is_asked
    if _is_asked or value.lower() in ("0", "off", "false", "no"):
        return
    _is_asked = True
    if value.lower() not in ("1", "on", "true", "yes"):
        warnings.warn(
            f"ASYNCIO_C_MONITOR={value} is none of 1 and 0: nobody can look", RuntimeWarning, stacklevel=3
        )
        return
    try:
        serve()
    except FileExistsError:  # the process can be looked at
        pass
    except (OSError, RuntimeError) as error:  # the latter where no thread can be had any more, at the end
        warnings.warn(f"ASYNCIO_C_MONITOR: {error}", RuntimeWarning, stacklevel=3)


def _forget_parents() -> None:
    global _server, _is_asked, _lock
    _lock = threading.RLock()
    forgotten, _server, _is_asked = _server, None, False
    if forgotten is not None:
        forgotten.forget()


def _close_at_exit() -> None:
    if _server is not None and _server.thread.is_alive():
        _server.close()
