"""Loop: the C event loop, completed by asyncio's own unix event loop.

The C type comes first in the order of inheritance and has whatever runs per callback, and for each read and write of a
socket. asyncio's loop has what runs once per program, server or connection, as this Python does it, on our readers and writers
and with our transports. This file joins the two: running, closing, processes, accepting, and the reports of errors.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import selectors
import signal
import socket
import sys
import threading
import weakref
from asyncio import (
    base_events,
    constants,
    events,
    format_helpers,
    futures,
    tasks,
    trsock,
    unix_events,
)
from collections.abc import MutableMapping
from types import NoneType
from typing import TYPE_CHECKING, Any

from . import _core, _registry, nesting, queue_views, selector_view, tls, transports

if TYPE_CHECKING:
    from .monitor import Stats

_registry.register()

_WATCH = os.environ.get("ASYNCIO_C_WATCH", "")
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

# Its name has lost its publicity with Python 3.14.
_ThreadedChildWatcher = (
    unix_events._ThreadedChildWatcher if sys.version_info >= (3, 14) else unix_events.ThreadedChildWatcher
)


class Loop(_core.Loop, unix_events.SelectorEventLoop):
    """Event loop in C on epoll.

    Mirrors asyncio's event loop ("Event Loop"). Subclasses may override any method, and methods may be set on an
    instance: the shortcuts of the C core that would bypass it are not taken then.

    selector: waits for descriptors in the place of the C poller, as it does for asyncio.SelectorEventLoop; slower.

    Raises OSError if the process is out of file descriptors.
    """

    _nesting_allowed = False  # for all loops, by allow_nesting()
    _has_left_poller = False  # it waits by a Python selector

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        # Not the selector loop's __init__, which would open a selector and a pair of sockets that we do not need.
        base_events.BaseEventLoop.__init__(self)
        brought = selector if selector is not None else selector_view.replaced_default()
        chosen = brought if brought is not None else selector_view.of(self)
        base_events.logger.debug("Using selector: %s", chosen.__class__.__name__)
        self._current_selector: Any = chosen
        self._transports = _Transports()
        self._signal_handlers: dict[int, events.Handle] = {}
        # Weak: a server that fails to start is forgotten, and nobody would take its socket out of here.
        self._unix_server_sockets: MutableMapping[socket.socket, int] = weakref.WeakKeyDictionary()
        # What file each is, and whose, until that has ended.
        self._pidfds: dict[int, tuple[tuple[int, int], Any]] = {}
        self._signal_sockets: tuple[socket.socket, socket.socket] | None = None
        self._signal_socket_files: list[tuple[int, int]] = []
        self._signals_are_the_parents = False  # the sockets were made before this process was forked
        self._tls_engine = tls.wanted_engine()
        self._awaited: list[Any] = []  # by the runs until complete, the innermost last
        self._initialized()
        if brought is not None:
            self._wait_by(brought)
        _registry.add_loop(self)
        if os.environ.get("ASYNCIO_C_MONITOR", "0") not in ("", "0"):
            from .monitor import server

            server.serve_as_asked(os.environ["ASYNCIO_C_MONITOR"])
        if _WATCH:
            from .monitor import watchdog

            watchdog.by_environment(self, _WATCH)

    # ---- Running and closing ----

    def run_forever(self) -> None:
        """Run the loop until stop() is called.

        Mirrors loop.run_forever ("Event Loop", "Running and stopping the loop"). Raises RuntimeError if the loop is
        closed or running, or another loop runs in this thread.
        """
        self._check_closed()
        self._check_running()
        self._collect_timers()
        if self._signals_are_the_parents:
            self._close_self_pipe()  # what arrives there is the parent's
        # Both are None, unless this run is nested.
        outer_loop, outer_thread_id = events._get_running_loop(), self._thread_id
        hooks = sys.get_asyncgen_hooks()
        with nesting.current_task_set_aside(outer_loop) if outer_loop else contextlib.nullcontext():
            self._set_coroutine_origin_tracking(self._debug)
            try:
                self._thread_id = threading.get_ident()
                sys.set_asyncgen_hooks(
                    firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook
                )
                events._set_running_loop(self)
                self._run()
            finally:
                # The stop() that ended a nested run may have been for an outer one.
                self._stopping = outer_thread_id is not None and self._outer_run_is_complete()
                self._thread_id = outer_thread_id
                events._set_running_loop(outer_loop)
                if outer_thread_id is None:
                    self._set_coroutine_origin_tracking(False)
                sys.set_asyncgen_hooks(*hooks)

    def run_until_complete(self, future: Any) -> Any:
        """Run the loop until an awaitable is done, and return its result or raise its exception.

        Mirrors loop.run_until_complete ("Event Loop", "Running and stopping the loop"). Raises RuntimeError if the loop
        is closed or running, or another loop runs in this thread, or the loop was stopped.
        """
        self._check_closed()
        self._check_running()
        is_new = not futures.isfuture(future)
        awaited = tasks.ensure_future(future, loop=self)
        if is_new:
            awaited._log_destroy_pending = False  # when the run fails, that is reported enough
        # asyncio's callback does not stop the loop for a KeyboardInterrupt or SystemExit, because the task that raises one
        # ends the run. What ended before the run does not, nor does a plain future. anyio finds its root task by asyncio's.
        ends_the_run = isinstance(awaited, (tasks.Task, _core.Task)) and not awaited.done()
        callback = base_events._run_until_complete_cb if ends_the_run else _StopWhenDone(self)
        awaited.add_done_callback(callback)
        nested = self._thread_id is not None
        self._awaited.append(awaited)
        try:
            self._run_nested(awaited) if nested else self.run_forever()
        except:
            if is_new and awaited.done() and not awaited.cancelled():
                awaited.exception()  # which is the one being raised, or is of no interest beside it
            raise
        finally:
            self._awaited.pop()
            awaited.remove_done_callback(callback)
            if not ends_the_run:
                callback.is_over = True
        if not awaited.done():
            self._stopping = nested  # stop() is for all runs
            raise RuntimeError("Event loop stopped before Future completed.")
        if nested:
            self._stopping = self._outer_run_is_complete()
        return awaited.result()

    # ---- Nested runs ----

    def _check_running(self) -> None:
        if not self._nesting_allowed:
            super()._check_running()  # type: ignore[misc]
        elif self._thread_id not in (None, threading.get_ident()):
            raise RuntimeError("This event loop is already running")

    def _run_nested(self, awaited: Any) -> None:
        """Run until `awaited` is done; that the future of an outer run is done also stops the loop, but not this run."""
        outer, stops = self._awaited[:-1], 0
        self.run_forever()
        while not awaited.done() and stops < sum(future.done() for future in outer):
            stops += 1
            self._stopping = False
            self.run_forever()

    def _outer_run_is_complete(self) -> bool:
        return any(future.done() for future in self._awaited)

    @property
    def _nest_patched(self) -> bool:
        """Say that nothing has to be patched for nested runs; nest_asyncio asks, and thereby allows them."""
        if not self._nesting_allowed:
            if not nesting.asked_by_nest_asyncio():
                raise AttributeError("nested runs are not allowed: asyncio_c.allow_nesting() allows them")
            allow_nesting()
        return True

    def close(self) -> None:
        """Close the loop, dropping what is queued without running it; does nothing on a closed loop.

        Mirrors loop.close ("Event Loop", "Running and stopping the loop"). Raises RuntimeError if the loop is running.
        """
        super().close()
        while self._pidfds:
            self._forget_process(next(iter(self._pidfds)))
        self._close()

    def __del__(self, _names: dict[str, Any] = vars(unix_events)) -> None:
        # Without __init__, which a wrong argument keeps from running, there is nothing to warn about, and nothing to close
        # but what the C core closes; nor is there after asyncio's modules, at the interpreter's end, where their names are
        # None.
        if "_awaited" in self.__dict__ and _names["sys"] is not None:
            super().__del__()

    # ---- The queues ----

    @property
    def _ready(self) -> Any:
        queue = self.__dict__.get("_ready_queue")
        if queue is None:
            queue = self._ready_queue = queue_views.ReadyQueue(self)
        return queue

    @_ready.setter
    def _ready(self, handles: Any) -> None:
        self._ready.take_over(handles)

    @property
    def _scheduled(self) -> Any:
        queue = self.__dict__.get("_timer_queue")
        if queue is None:
            queue = self._timer_queue = queue_views.TimerQueue(self)
        queue.collect()
        # Who looks may be asyncio's call_at(), and push a timer.
        if not self._collect_afterwards() and self._thread_id == threading.get_ident():
            # Between two callbacks, where a signal's handler runs.
            self._add_callback(events.Handle(queue.collect, (), self))
        return queue

    @_scheduled.setter
    def _scheduled(self, handles: Any) -> None:
        self._scheduled.take_over(handles)

    def _collect_timers(self) -> None:
        """Schedule what asyncio's call_at() has pushed."""
        queue = self.__dict__.get("_timer_queue")
        if queue is not None:
            queue.collect()

    def _timer_handle_cancelled(self, handle: Any) -> None:
        self._scheduled.cancelled(handle)

    # ---- Waiting by a Python selector ----

    @property
    def _selector(self) -> Any:
        return self._current_selector

    @_selector.setter
    def _selector(self, selector: Any) -> None:
        if selector is not None and selector is not self._current_selector:
            selector_view.make_real(self._current_selector)  # which the new one may wrap
        self._current_selector = selector

    def _note_waiting(self) -> None:
        """Do nothing, as a function that a profiler sees before the loop waits, and after."""

    def _wait_by(self, selector: Any) -> None:
        """Wait by this selector from now on, in which all that is watched gets registered; see src/core/selector.c.

        If that fails, for lack of memory or descriptors, the loop waits as before, and nothing is registered.
        """
        self._make_self_pipe()
        before = self._watches()
        try:
            _register(selector, before)
            after = self._leave_poller()
        except BaseException:
            _unregister(selector, before)
            raise
        self._has_left_poller = True
        # What a selector does to register may have closed or opened something.
        _unregister(selector, before, after)
        _register(selector, after, before)

    def _wait_by_selector(self, busy: bool, when: float | None) -> None:
        """Wait once, as asyncio's loop does: the core's way to wait when it has left its poller."""
        timeout: float | None = None
        if busy:
            timeout = 0
        elif when is not None:
            timeout = min(max(0, when - self.time()), base_events.MAXIMUM_SELECT_TIMEOUT)
        self._process_events(self._selector.select(timeout))

    # ---- The sockets behind signal.set_wakeup_fd() ----

    # Threads wake the C poller by other means, and asyncio's add_signal_handler() asks for _csock, and only it: so they are
    # opened when they are needed.

    def _make_self_pipe(self) -> None:
        self._open_signal_sockets()

    @property
    def _csock(self) -> socket.socket:
        return self._open_signal_sockets()[1]

    @property
    def _ssock(self) -> socket.socket:
        return self._open_signal_sockets()[0]

    def _open_signal_sockets(self) -> tuple[socket.socket, socket.socket]:
        if self._signals_are_the_parents:
            self._close_self_pipe()
        if self._signal_sockets is None:
            self._check_closed()
            reader, writer = sockets = socket.socketpair()
            try:
                self._signal_socket_files = [_core._file_identity(sock.fileno()) for sock in sockets]
                reader.setblocking(False)
                writer.setblocking(False)
                self._add_reader(reader.fileno(), self._read_from_self)
            except BaseException:
                self._remove_reader(reader.fileno())  # Control-C may come when it is there
                reader.close()
                writer.close()
                raise
            self._signal_sockets = sockets
            _loops_with_signal_sockets.add(self)
        return self._signal_sockets

    def _close_self_pipe(self) -> None:
        if self._signal_sockets is not None:
            sockets = self._signal_sockets
            self._signal_sockets = None
            self._signals_are_the_parents = False
            self._remove_reader(sockets[0].fileno())
            for sock, file in zip(sockets, self._signal_socket_files, strict=True):
                if _core._file_is(sock.fileno(), file):
                    sock.close()
                else:
                    sock.detach()  # the program has closed it, and the number may be another file's

    # ---- What asyncio's loop builds connections of ----

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: Any,
        sslcontext: Any,
        waiter: Any = None,
        *,
        extra: Any = None,
        server: Any = None,
        context: Any = None,
        server_side: bool = False,
        server_hostname: str | None = None,
        **timeouts: Any,
    ) -> Any:
        if not self._is_plain_socket(rawsock):
            options = {"context": context} if sys.version_info >= (3, 15) else {}
            return super()._make_ssl_transport(  # type: ignore[misc]
                rawsock,
                protocol,
                sslcontext,
                waiter,
                extra=extra,
                server=server,
                server_side=server_side,
                server_hostname=server_hostname,
                **timeouts,
                **options,
            )
        # The TLS protocol sits on a transport of ours and has another for the user's protocol.  As in asyncio an overridden
        # _make_socket_transport() is not asked for it.
        if sys.version_info >= (3, 12):
            self._ensure_fd_no_transport(rawsock)
        tls_protocol = tls.new_protocol(
            self, protocol, sslcontext, waiter, server_side, server_hostname, **timeouts
        )
        transports.StreamTransport(self, rawsock, tls_protocol, None, extra, server, context)
        return tls_protocol._app_transport

    async def start_tls(
        self,
        transport: Any,
        protocol: Any,
        sslcontext: Any,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> Any:
        """Put TLS on a connection that is open, and return the transport that the protocol is to use from then on.

        What a StreamReader on the server's side has read already is part of the handshake.

        Mirrors loop.start_tls ("Event Loop", "TLS Upgrade"). Raises TypeError if sslcontext is no SSLContext or the
        transport cannot be upgraded, ssl.SSLError and OSError if the handshake fails, ConnectionAbortedError if it takes
        too long.
        """
        upgrade: Any = super().start_tls
        if tls.can_start(self, transport, sslcontext):
            upgrade = functools.partial(tls.start_tls, self)
        return await upgrade(
            transport,
            protocol,
            sslcontext,
            server_side=server_side,
            server_hostname=server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )

    def _make_datagram_transport(
        self, sock: socket.socket, protocol: Any, address: Any = None, waiter: Any = None, extra: Any = None
    ) -> Any:
        if not self._is_plain_socket(sock):
            return super()._make_datagram_transport(sock, protocol, address, waiter, extra)  # type: ignore[misc]
        if sys.version_info >= (3, 12):
            self._ensure_fd_no_transport(sock)
        return transports.DatagramTransport(self, sock, protocol, address, waiter, extra)

    def _make_read_pipe_transport(
        self, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None
    ) -> Any:
        return transports.ReadPipeTransport(self, pipe, protocol, waiter, extra)  # type: ignore[call-arg,arg-type]

    def _make_write_pipe_transport(
        self, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None
    ) -> Any:
        return transports.WritePipeTransport(self, pipe, protocol, waiter, extra)  # type: ignore[call-arg,arg-type]

    # ---- Subprocesses ----

    async def _make_subprocess_transport(
        self,
        protocol: Any,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        extra: Any = None,
        **keywords: Any,
    ) -> Any:
        waiter = self.create_future()
        streams = (stdin, stdout, stderr)
        transport = transports.SubprocessTransport(
            self, protocol, args, shell, *streams, bufsize, waiter=waiter, extra=extra, **keywords
        )
        self._watch_process(transport)
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await tasks.shield(transport._wait())
            raise
        return transport

    # A process is watched by a pidfd, for which neither a handler of SIGCHLD nor a thread nor a child watcher is needed.

    def _watch_process(self, transport: Any) -> None:
        """Have the transport told when its process has ended."""
        pid = transport.get_pid()
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            # An old kernel, a sandbox that forbids it, no descriptor left, or the process is gone already because the
            # program ignores SIGCHLD: asyncio's way is then a thread that waits for this process.
            self._watch_process_in_thread(transport)
            return
        try:
            self._pidfds[pidfd] = _core._file_identity(pidfd), transport
            self._add_reader(pidfd, self._process_ended, pidfd, transport)
        except BaseException as error:
            self._remove_reader(pidfd)  # Control-C may come when it is there
            self._pidfds.pop(pidfd, None)
            os.close(pidfd)
            if not isinstance(error, OSError):
                raise
            self._watch_process_in_thread(transport)

    def _watch_process_in_thread(self, transport: Any) -> None:
        _ThreadedChildWatcher().add_child_handler(
            transport.get_pid(), self._child_watcher_callback, transport
        )

    def _process_ended(self, pidfd: int, transport: Any) -> None:
        returncode = self._look_at_status(transport)
        # Which turn is told of the end asyncio says: at once, or one or two turns later, depending on the Python.
        self._child_watcher_callback(transport.get_pid(), returncode, _Ending(self, pidfd, transport))
        # Last: if memory lacks before this, or Control-C comes, the next turn asks again.
        if pidfd in self._pidfds:
            self._remove_reader(pidfd)
            self._pidfds[pidfd] = self._pidfds[pidfd][0], None

    def _look_at_status(self, transport: Any) -> int:
        """Return how a process has ended, and leave it a zombie.

        The number of a process that somebody may still send a signal to must not be given to another. But who waits for
        any process there is, as some of asyncio's child watchers do, may be quicker than the next turn of the loop.
        """
        pid = transport.get_pid()
        try:
            status: Any = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            # Popen may have asked for the status just before, in kill() or the like: then it knows.
            returncode: int | None = transport._proc.returncode
            if returncode is None:
                returncode = 255
                base_events.logger.warning(
                    "child process pid %d exit status already read:  will report returncode 255", pid
                )
            return returncode
        number: int = status.si_status
        return number if status.si_code == os.CLD_EXITED else -number

    def _reap_process(self, pidfd: int, transport: Any, returncode: int) -> None:
        tells = True
        try:
            with contextlib.suppress(ChildProcessError):  # somebody else has waited for it
                os.waitpid(transport.get_pid(), os.WNOHANG)
        except OSError:
            tells = False  # as asyncio's
            raise
        finally:
            # Whatever else fails, the process has ended, and nobody will ask again.
            try:
                self._close_pidfd(pidfd)
            finally:
                if tells:
                    transport._process_exited(returncode)

    def _forget_process(self, pidfd: int) -> None:
        """Stop watching a process because the loop is closed."""
        _, transport = self._pidfds[pidfd]
        self._close_pidfd(pidfd)
        # On 3.11 a thread of asyncio's waits for the process to the end, with the transport, which kills the process when it
        # goes. From 3.12 on nobody has it any more.
        if sys.version_info < (3, 12) and transport is not None and not sys.is_finalizing():
            running = events._get_running_loop()
            events._set_running_loop(self)  # of which the thread tells that it is closed
            try:
                # No child of this process, which was forked; no thread.
                with contextlib.suppress(OSError, RuntimeError):
                    os.waitid(os.P_PID, transport.get_pid(), os.WEXITED | os.WNOHANG | os.WNOWAIT)
                    self._watch_process_in_thread(transport)
            finally:
                events._set_running_loop(running)

    def _close_pidfd(self, pidfd: int) -> None:
        self._remove_reader(pidfd)
        # Who closes all descriptors has closed it, and its number may be another file's. (Linux before 6.9 does not tell a
        # pidfd from an epoll or an eventfd, but does from all other files.)
        ours = _core._file_is(pidfd, self._pidfds[pidfd][0])
        del self._pidfds[pidfd]  # pop() may take it out and then lack the memory to return it
        if ours:
            os.close(pidfd)

    # ---- Names ----

    def _sock_sendfile_native_impl(self, fut: Any, registered_fd: int | None, *args: Any) -> None:
        # asyncio's step lets a failed add_writer() through to the loop, and whoever awaits the future waits for ever.
        try:
            super()._sock_sendfile_native_impl(fut, registered_fd, *args)  # type: ignore[misc]
        except Exception as exc:
            if registered_fd is None or fut.done():
                raise
            fut.set_exception(exc)

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[tuple[Any, ...]]:
        """Return what socket.getaddrinfo() returns, from a thread unless the address is a number.

        Mirrors loop.getaddrinfo ("Event Loop", "DNS"). Raises socket.gaierror.
        """
        if (
            not self._debug  # in which asyncio logs how long it took
            and getattr(socket.getaddrinfo, "__globals__", None) is vars(socket)  # and nobody has replaced it
            and isinstance(host, str)
            and (host[:1].isdigit() or ":" in host)
            and isinstance(port, (int, NoneType))
        ):
            try:
                return socket.getaddrinfo(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
            except socket.gaierror:
                pass  # a name after all, or a mistake for which the thread gets the error
        return await super().getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)

    # ---- Accepting ----

    def _accept_connection(
        self,
        protocol_factory: Any,
        sock: socket.socket,
        sslcontext: Any = None,
        server: Any = None,
        backlog: int = 100,
        ssl_handshake_timeout: float | None = constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout: float | None = constants.SSL_SHUTDOWN_TIMEOUT,
        *given_context: Any,
    ) -> None:
        """Accept what waits at the listening socket; the reader's callback of _start_serving()."""
        timeouts = (ssl_handshake_timeout, ssl_shutdown_timeout)
        context = (given_context or (None,)) if sys.version_info >= (3, 15) else ()
        self._accept_all((protocol_factory, sock, sslcontext, server, backlog, *timeouts, *context))

    def _accept_failed(self, error: OSError, serving: tuple[Any, ...]) -> None:
        """See to an accept() that raised: what the system is out of may be back in a second."""
        if error.errno not in _OUT_OF_RESOURCES:
            raise error
        sock = serving[1]
        message = "socket.accept() out of system resource"
        details = {"message": message, "exception": error, "socket": trsock.TransportSocket(sock)}
        self.call_exception_handler(details)
        # The socket stays ready: look again when somebody may have closed something.
        self._remove_reader(sock.fileno())
        self.call_later(constants.ACCEPT_RETRY_DELAY, self._start_serving, *serving)

    def _accepted(self, connection: socket.socket, address: Any, serving: tuple[Any, ...]) -> None:
        """Open a connection with TLS, in debug mode, or on a loop with methods of its own."""
        protocol_factory, _, sslcontext, server, _, *timeouts = serving
        context = timeouts.pop() if sys.version_info >= (3, 15) else None
        if self._debug:
            base_events.logger.debug("%r got a new connection from %r: %r", server, address, connection)
        own_context = context.copy() if context is not None else None
        if sslcontext:
            keywords = {"context": own_context} if sys.version_info >= (3, 15) else {}
            extra = {"peername": address}
            opening = self._accept_connection2(
                protocol_factory, connection, extra, sslcontext, server, *timeouts, **keywords
            )
            self.create_task(opening, context=own_context)
        else:
            accepted = (protocol_factory, connection, address, server, own_context)
            self.call_soon(self._open_accepted, accepted, context=own_context)

    def _open_failed(self, error: BaseException, connection: socket.socket, protocol: Any) -> None:
        """See to a protocol factory or a transport that raised."""
        connection.close()
        if self._debug:
            message = "Error on transport creation for incoming connection"
            details = {"message": message, "exception": error}
            if protocol is not None:
                details["protocol"] = protocol
            self.call_exception_handler(details)

    # ---- What it has done ----

    def stats(self) -> Stats:
        """Return a snapshot of what the loop has counted: turns, callbacks, seconds waiting and working, bytes and more.

        asyncio has nothing like it. Any thread may ask, and a closed loop still answers. How long callbacks take and how
        late timers are is None unless measure() has switched it on.
        """
        from .monitor import stats

        return stats.of(self)

    def measure(self, enabled: bool = True) -> None:
        """Measure from now on how long each callback and task step takes and how late each timer is, for stats().

        asyncio has nothing like it. It costs a look at the clock for each callback. Switching it on again changes nothing;
        switching it off forgets what was measured.
        """
        _core._measure(self, enabled)

    # ---- Errors and slow callbacks ----

    def _report_callback_error(self, exception: BaseException, handle: events.Handle) -> None:
        """Tell the exception handler about a callback that raised, in asyncio's words."""
        options = {"debug": self._debug} if sys.version_info >= (3, 13) else {}
        callback = format_helpers._format_callback_source(handle._callback, handle._args, **options)
        context = {"message": f"Exception in callback {callback}", "exception": exception, "handle": handle}
        if handle._source_traceback:
            context["source_traceback"] = handle._source_traceback
        self.call_exception_handler(context)

    def _log_slow_callback(self, handle: events.Handle, seconds: float) -> None:
        handle = queue_views.carried(handle)
        # asyncio's function knows none of a class derived from the native one, and asyncio does not know its Task in Python
        # for a task, which an instance of the native class is by registration only.
        task = getattr(handle._callback, "__self__", None)
        is_task = _core.Task in type(task).__mro__ or isinstance(task, tasks._CTask)
        text = repr(task) if is_task else str(handle)
        base_events.logger.warning("Executing %s took %.3f seconds", text, seconds)


class _StopWhenDone:
    """A done-callback that stops the loop, whatever has ended the future, unless the run that awaited it is over.

    The future is not asked which it is, for a task factory may have wrapped it.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.is_over = False

    def __call__(self, future: Any) -> None:
        if not future.cancelled():
            future.exception()  # from now on it counts as retrieved, as with asyncio's callback
        if not self.is_over:
            self._loop.stop()


def allow_nesting(allowed: bool = True) -> None:
    """Let loops run while they, or others, run in the same thread: in their callbacks and tasks.

    What asyncio refuses ("This event loop is already running") then works: `loop.run_until_complete()` within a task of
    `loop` runs the loop, with all its other tasks, until its argument is done. nest_asyncio.apply() calls this; without
    it asyncio.run() still refuses. A nested run cannot return before the runs nested in it have returned.

    Parameters: allowed is False to have it refused again. It holds for all native loops of the process.
    """
    Loop._nesting_allowed = allowed


class _Ending:
    """Stands for the transport of a process that has ended, until the turn in which that is told."""

    def __init__(self, loop: Loop, pidfd: int, transport: Any) -> None:
        self._loop, self._pidfd, self._transport = loop, pidfd, transport

    def _process_exited(self, returncode: int) -> None:
        self._loop._reap_process(self._pidfd, self._transport, returncode)


class _Transports(_core.FdMap, MutableMapping[int, Any]):
    """The transports by descriptor, held weakly: what asyncio's loop has a WeakValueDictionary for."""


_Watches = list[tuple[Any, int, int, tuple[Any, Any]]]


def _register(selector: Any, watches: _Watches, known: _Watches | None = None) -> None:
    if watches != known:
        for watch in watches:
            # What was closed behind our back nobody can watch, nor what has its number now.
            with contextlib.suppress(KeyError, ValueError, OSError):
                if known is None or watch not in known:
                    selector.register(watch[0], watch[2], watch[3])


def _unregister(selector: Any, watches: _Watches, kept: _Watches | None = None) -> None:
    if watches != kept:
        for watch in watches:
            with contextlib.suppress(KeyError, ValueError, OSError):
                if kept is None or watch not in kept:
                    selector.unregister(watch[0])


_loops_with_signal_sockets: weakref.WeakSet[Loop] = weakref.WeakSet()


def _before_fork() -> None:
    """Send what the callback that forks has written, lest the child has it too."""
    loop = events._get_running_loop()
    if isinstance(loop, Loop):
        loop._run_deferred()


def _after_fork_in_child() -> None:
    """Part the child's loops from the parent's, and the child's signals: they must not wake the parent."""
    _core._after_fork()
    numbers = set()
    for loop in list(_loops_with_signal_sockets):
        if loop._signal_sockets is not None:
            # What a Python selector watches in the parent it watches in the child, as asyncio's.
            loop._signals_are_the_parents = not loop._has_left_poller
            numbers.add(loop._signal_sockets[1].fileno())
    if numbers:
        # asyncio does so from Python 3.12 on. Elsewhere than in the main interpreter it is refused.
        with contextlib.suppress(ValueError, OSError):
            wakeup_fd = signal.set_wakeup_fd(-1)
            if wakeup_fd not in numbers:
                signal.set_wakeup_fd(wakeup_fd)


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
