"""Loop: the C event loop, completed by asyncio's BaseEventLoop.

The C type comes first in the order of inheritance and has whatever runs per callback. BaseEventLoop has what runs once
per program, server or connection, as this Python's asyncio does it. This file joins the two, and has what belongs to
neither: running, closing, signal handlers, and the reports of errors.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import warnings
from asyncio import base_events, coroutines, events, format_helpers
from asyncio.log import logger
from collections.abc import Callable
from typing import Any

from . import _core, _registry

_registry.register()


class Loop(_core.Loop, base_events.BaseEventLoop):
    """Event loop in C on epoll.

    Mirrors asyncio's event loop ("Event Loop"). Subclasses may override any method, and methods may be set on an
    instance: the shortcuts of the C core that would bypass it are not taken then.

    Raises OSError if the process is out of file descriptors.
    """

    # The names that asyncio's own loops have beside BaseEventLoop's.
    _signal_handlers: dict[int, events.Handle]

    def __init__(self) -> None:
        # A pair of sockets for signal.set_wakeup_fd(), made when the first handler is added.
        self._signal_sockets: tuple[socket.socket, socket.socket] | None = None
        self._signal_handlers = {}
        super().__init__()
        self._initialized()

    # ---- Running and closing ----

    def run_forever(self) -> None:
        """Run the loop until stop() is called.

        Mirrors loop.run_forever ("Event Loop", "Running and stopping the loop"). Raises RuntimeError if the loop is
        closed or running, or another loop runs in this thread.
        """
        self._check_closed()
        self._check_running()
        self._set_coroutine_origin_tracking(self._debug)
        hooks = sys.get_asyncgen_hooks()
        try:
            self._thread_id = threading.get_ident()
            sys.set_asyncgen_hooks(
                firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook
            )
            events._set_running_loop(self)
            self._run()
        finally:
            self._stopping = False
            self._thread_id = None
            events._set_running_loop(None)
            self._set_coroutine_origin_tracking(False)
            sys.set_asyncgen_hooks(*hooks)

    def close(self) -> None:
        """Close the loop, dropping what is queued without running it; does nothing on a closed loop.

        Mirrors loop.close ("Event Loop", "Running and stopping the loop"). Raises RuntimeError if the loop is running.
        """
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        if self._debug:
            logger.debug("Close %r", self)
        self._close_signals()
        self._close()
        self._executor_shutdown_called = True
        executor = self._default_executor
        if executor is not None:
            self._default_executor = None
            executor.shutdown(wait=False)

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
        logger.warning("Executing %s took %.3f seconds", base_events._format_handle(handle), seconds)

    # ---- Signals ----

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        """Call callback(*args) in the loop when the signal arrives.

        Mirrors loop.add_signal_handler ("Event Loop", "Unix signals"). Raises ValueError if the number is no signal,
        RuntimeError if it cannot be caught or this is not the main thread, and TypeError for coroutines.
        """
        if coroutines.iscoroutine(callback) or _iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        self._check_signal(sig)
        self._check_closed()
        try:
            # set_wakeup_fd() raises ValueError outside of the main thread.
            signal.set_wakeup_fd(self._open_signals().fileno())
        except (ValueError, OSError) as exc:
            raise RuntimeError(str(exc)) from None
        self._signal_handlers[sig] = events.Handle(callback, args, self, None)
        try:
            # The C level of a Python handler writes the number to the wake-up socket; the handler has nothing to do.
            signal.signal(sig, _ignore_signal)
            signal.siginterrupt(sig, False)
        except OSError as exc:
            del self._signal_handlers[sig]
            if not self._signal_handlers:
                self._release_wakeup_fd()
            if exc.errno == 22:  # EINVAL: SIGKILL and SIGSTOP
                raise RuntimeError(f"sig {sig} cannot be caught") from exc
            raise

    def remove_signal_handler(self, sig: int) -> bool:
        """Remove the handler of a signal; return False if there was none.

        Mirrors loop.remove_signal_handler ("Event Loop", "Unix signals").
        """
        self._check_signal(sig)
        if self._signal_handlers.pop(sig, None) is None:
            return False
        default = signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL
        try:
            signal.signal(sig, default)
        except OSError as exc:
            if exc.errno == 22:
                raise RuntimeError(f"sig {sig} cannot be caught") from exc
            raise
        if not self._signal_handlers:
            self._release_wakeup_fd()
        return True

    def _check_signal(self, sig: int) -> None:
        if not isinstance(sig, int):
            raise TypeError(f"sig must be an int, not {sig!r}")
        if sig not in signal.valid_signals():
            raise ValueError(f"invalid signal number {sig}")

    def _open_signals(self) -> socket.socket:
        if self._signal_sockets is None:
            reader, writer = socket.socketpair()
            reader.setblocking(False)
            writer.setblocking(False)
            self._signal_sockets = reader, writer
            self._add_reader(reader.fileno(), self._read_signals)
        return self._signal_sockets[1]

    def _read_signals(self) -> None:
        if self._signal_sockets is None:
            return
        try:
            data = self._signal_sockets[0].recv(4096)
        except (BlockingIOError, InterruptedError):
            return
        for sig in data:
            self._handle_signal(sig)

    def _handle_signal(self, sig: int) -> None:
        handle = self._signal_handlers.get(sig)
        if handle is None:
            return
        if handle._cancelled:
            self.remove_signal_handler(sig)
        else:
            self.call_soon(handle._run)  # which enters the handle's own context

    def _release_wakeup_fd(self) -> None:
        try:
            signal.set_wakeup_fd(-1)
        except (ValueError, OSError) as exc:
            logger.info("set_wakeup_fd(-1) failed: %s", exc)

    def _close_signals(self) -> None:
        if sys.is_finalizing():
            if self._signal_handlers:
                warnings.warn(
                    f"Closing the loop {self!r} on interpreter shutdown stage, skipping signal handlers removal",
                    ResourceWarning,
                    source=self,
                )
                self._signal_handlers.clear()
        else:
            for sig in list(self._signal_handlers):
                self.remove_signal_handler(sig)
        if self._signal_sockets is not None:
            reader, writer = self._signal_sockets
            self._signal_sockets = None
            self._remove_reader(reader.fileno())
            reader.close()
            writer.close()


def _iscoroutinefunction(function: Any) -> bool:
    # asyncio's own function of this name warns from 3.14 on.
    check = getattr(coroutines, "_iscoroutinefunction", None) or asyncio.iscoroutinefunction
    return bool(check(function))


def _ignore_signal(signum: int, frame: object) -> None:
    """Do nothing: what matters is that the signal is caught."""


os.register_at_fork(after_in_child=_core._after_fork)
