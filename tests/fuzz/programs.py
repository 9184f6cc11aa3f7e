"""One program of the fuzzer: a pool of objects, and random steps that call, read, write and delete what they have.

Callbacks, coroutines and hostile objects take random steps of their own, so that whatever runs Python in the core meets an
object that has just been closed, completed, changed or collected.
"""

import asyncio
import contextvars
import gc
import logging
import os
import random
import signal
import socket
import sys

import asyncio_c
from asyncio_c import _core, queue_views
from tests.torture.programs import ENGINES, connect_tls

LIMIT_OF_POOL = 120
LIMIT_OF_DEPTH = 4
STEP_SECONDS = 0.2

# They start processes, ask for names, or wait for threads.
NEVER = {
    "add_signal_handler",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "getaddrinfo",
    "getnameinfo",
    "run_in_executor",
    "subprocess_exec",
    "subprocess_shell",
    "_make_subprocess_transport",
    "_watch_process",
    "_watch_process_in_thread",
    "_look_at_status",
    "_reap_process",
    "_close_pidfd",
    "_getaddrinfo_debug",
    "_check_callback",
    "__reduce__",
    "__reduce_ex__",
    "__getstate__",
}
# Another number in their place makes asyncio's own code close or write to whatever that is.
NEVER_SET = {"_sock_fd", "_fileno", "__class__", "_pidfds", "_thread_id"}

NUMBERS = [
    *(-1, 0, 1, 2, 3, 7, 20, 255, 1000, 2**16, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, -(2**63), 10**30),
    *(0.0, -0.0, 0.001, -1.5, 1e300, -1e300, float("inf"), float("-inf"), float("nan"), True, False),
]
KEYWORDS = [
    "context",
    "name",
    "loop",
    "msg",
    "timeout",
    "return_when",
    "return_exceptions",
    "data",
    "addr",
    "eager_start",
]


class StepTooLong(KeyboardInterrupt):
    """Ends a step that waits: as a KeyboardInterrupt, which a loop hands on, while it reports all others and goes on."""


def iterator(value):
    """iter() of a memoryview that is released returns something and sets an exception, which is found later, anywhere."""
    return None if isinstance(value, memoryview) else iter(value)


class Program:
    def __init__(self, seed, verbose):
        self.random = random.Random(seed)
        self.verbose = verbose
        self.depth = 0
        self.in_step = False
        self.systemerrors = []
        self.pool = []
        self.types = [
            value
            for value in vars(_core).values()
            if isinstance(value, type) and not issubclass(value, BaseException)
        ] + [asyncio_c.Loop, asyncio_c.Task, asyncio_c.Future]
        self.types += [asyncio_c.Lock, asyncio_c.Event, asyncio_c.Semaphore, asyncio_c.BoundedSemaphore]
        self.types += [asyncio_c.Condition, asyncio_c.Barrier]
        self.types += [asyncio_c.Queue, asyncio_c.PriorityQueue, asyncio_c.LifoQueue]
        self.types += [asyncio_c.StreamReader, asyncio_c.StreamReaderProtocol, asyncio_c.StreamWriter]
        self.types += [asyncio_c.Timeout, asyncio_c.TaskGroup, asyncio_c.Runner]
        self.types += [queue_views.ReadyQueue, queue_views.TimerQueue]
        self.functions = [
            asyncio_c.sleep,
            asyncio_c.gather,
            asyncio_c.wait,
            asyncio_c.current_task,
            asyncio_c.all_tasks,
        ]
        self.functions += [
            asyncio.shield,
            asyncio.wait_for,
            asyncio.ensure_future,
            asyncio.timeout,
            asyncio_c.as_completed,
            iterator,
            repr,
            hash,
            bool,
        ]
        self.functions += [
            value for name, value in vars(_core).items() if callable(value) and not isinstance(value, type)
        ]
        self.functions = [f for f in self.functions if getattr(f, "__name__", "") not in NEVER]

    # ---- Values ----

    def open(self):
        """Begin with a loop and one of each of its things, and forget most of what was."""
        asyncio._set_running_loop(None)
        loop = self.loop = asyncio_c.new_event_loop()
        loop.set_exception_handler(lambda loop, context: self.nested())
        tls = self.tls(loop) if self.random.random() < 0.3 else ()  # before anything acts on the loop
        self.pool = [loop, *self.random.sample(self.pool, min(len(self.pool), 20))]
        pair = socket.socketpair()
        others = socket.socketpair()
        read_end, write_end = os.pipe()
        udp = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for sock in (*pair, *others, *udp):
            sock.setblocking(False)
        os.set_blocking(read_end, False)
        os.set_blocking(write_end, False)
        pair[1].send(b"x" * 100)
        self.pool += [
            loop.create_future(),
            loop.create_task(self.coroutine()),
            loop.call_soon(self.callback()),
            loop.call_later(0.001, self.callback()),
            loop._make_socket_transport(pair[0], Protocol(self)),
            loop._make_socket_transport(others[0], BufferedProtocol(self)),
            loop._make_datagram_transport(udp[0], Protocol(self)),
            loop._make_read_pipe_transport(open(read_end, "rb", 0), Protocol(self)),
            loop._make_write_pipe_transport(open(write_end, "wb", 0), Protocol(self)),
            *(pair[1], others[1], udp[1]),
            *(loop._ready, loop._scheduled, loop._selector),
            *(asyncio_c.Lock(), asyncio_c.Condition(), asyncio_c.Barrier(2), asyncio_c.Queue(1)),
            *(asyncio_c.Event(), asyncio_c.Semaphore(1), asyncio_c.PriorityQueue(1), asyncio_c.LifoQueue(1)),
            *(asyncio_c.Timeout(loop.time() + 0.001), asyncio_c.TaskGroup()),
            *(asyncio_c.shield(loop.create_future()), asyncio_c.wait_for(loop.create_future(), 0.001)),
            *self.streams(loop),
            *tls,
            *(Hostile(self), Protocol(self), contextvars.copy_context(), bytearray(100), memoryview(b"abc")),
        ]

    def streams(self, loop):
        """A stream that has something to read, with its parts and its peer."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        theirs.send(b"line\n" * 30)
        reader = asyncio_c.StreamReader(limit=50, loop=loop)
        protocol = asyncio_c.StreamReaderProtocol(reader, loop=loop)
        transport = loop._make_socket_transport(ours, protocol)
        return reader, protocol, asyncio_c.StreamWriter(transport, protocol, reader, loop), theirs

    def tls(self, loop):
        """Both ends of a connection over TLS, by one of the engines, with protocols that act."""
        loop._tls_engine = self.random.choice(ENGINES)
        ends = loop.run_until_complete(connect_tls(loop, *socket.socketpair()))
        transports = [end.transport for end in ends]
        for transport, kind in zip(transports, (Protocol, BufferedProtocol)):
            transport.set_protocol(kind(self))
            transport.write(b"x" * 1000)
        return *transports, *(transport._ssl_protocol for transport in transports)

    def value(self):
        kind = self.random.randrange(12)
        if kind < 5:
            return self.random.choice(self.pool)
        if kind < 7:
            return self.random.choice(NUMBERS)
        makers = [
            lambda: self.random.choice(
                [None, "", "x", b"", b"data" * 10, (), [], {}, bytearray(10), memoryview(b"abc")]
            ),
            lambda: [self.random.choice(self.pool) for _ in range(self.random.randrange(4))],
            self.callback,
            self.coroutine,
            lambda: Hostile(self),
            lambda: self.random.choice(self.types),
            lambda: self.random.choice(
                [ValueError("x"), ValueError, StopIteration(1), asyncio.CancelledError()]
            ),
            lambda: bytes(self.random.choice([1, 1000, 300_000])),
        ]
        return self.random.choice(makers)()

    def callback(self):
        def callback(*args, **kwargs):
            self.nested()
            return self.random.choice(self.pool)

        return callback

    async def coroutine(self):
        self.nested()
        for _ in range(self.random.randrange(3)):
            try:
                await self.random.choice(self.pool)
            except TypeError:
                await asyncio_c.sleep(0)
            self.nested()
        return self.random.choice(self.pool)

    # ---- Steps ----

    def nested(self):
        """A few steps within a callback."""
        if self.depth < LIMIT_OF_DEPTH and self.random.random() < 0.3:
            self.depth += 1
            try:
                self.step()
            finally:
                self.depth -= 1

    def arguments(self):
        args = [self.value() for _ in range(self.random.choice([0, 0, 1, 1, 1, 2, 2, 3, 5]))]
        kwargs = {}
        if self.random.random() < 0.15:
            kwargs[self.random.choice(KEYWORDS)] = self.value()
        return args, kwargs

    def step(self):
        action = self.random.choices(
            [self.call, self.call_unbound, self.make, self.read, self.write, self.forget, self.run],
            [50, 5, 10, 8, 4, 6, 17],
        )[0]
        try:
            result = action()
        except StepTooLong:
            raise
        except SystemError as error:
            self.say("SystemError", repr(error))
            if "memoryview" not in repr(error):  # Python 3.11's own, of one that is released
                self.systemerrors.append(repr(error))
        except BaseException as error:
            result = error if self.random.random() < 0.05 else None
        else:
            if self.verbose:
                print("  ->", type(result).__name__, flush=True)
        if action in (self.call, self.make, self.call_unbound) and len(self.pool) < LIMIT_OF_POOL:
            self.keep(locals().get("result"))

    def keep(self, result):
        if f"{type(result).__module__}.{type(result).__qualname__}" == "_asyncio.FutureIter":
            return  # asyncio's own, which on Python 3.12.1 may end without an exception, as only C can
        ours = type(result).__module__.startswith(("asyncio", "_asyncio")) or hasattr(
            type(result), "__await__"
        )
        if ours or (result is not None and self.random.random() < 0.02):
            self.pool.append(result)

    def say(self, *what):
        if self.verbose:
            print(" " * self.depth, *[self.name(w) for w in what], flush=True)

    @staticmethod
    def name(value):
        simple = isinstance(value, (int, float, str, bytes, type(None))) and len(str(value)) < 40
        return value if simple else f"<{type(value).__name__} {id(value):x}>"

    def method_of(self, kind):
        names = [
            name for name in dir(kind) if name not in NEVER and not name.startswith("__") or name in DUNDERS
        ]
        return self.random.choice(names)

    def call(self):
        target = self.random.choice(self.pool)
        name = self.method_of(type(target))
        if name in ENDS and self.random.random() < 0.8:
            return None
        if name == "__iter__":
            return iterator(target)
        args, kwargs = self.arguments()
        self.say("call", target, name, *args, kwargs)
        return getattr(target, name)(*args, **kwargs)

    def call_unbound(self):
        """A method of a type on any object, or on one that is not initialised."""
        kind = self.random.choice(self.types)
        target = kind.__new__(kind) if self.random.random() < 0.5 else self.random.choice(self.pool)
        name = self.method_of(kind)
        args, kwargs = self.arguments()
        self.say("unbound", kind.__name__, target, name, *args, kwargs)
        result = getattr(kind, name)(target, *args, **kwargs)
        self.keep(target)
        return result

    def make(self):
        args, kwargs = self.arguments()
        maker = self.random.choice(self.types + self.functions)
        if maker in (asyncio_c.Task, asyncio_c.Future) and self.random.random() < 0.7:
            args, kwargs = args[:1], {"loop": self.loop}
        self.say("make", maker, *args, kwargs)
        return maker(*args, **kwargs)

    def read(self):
        target = self.random.choice(self.pool)
        name = self.random.choice(dir(type(target)))
        self.say("read", target, name)
        return repr(getattr(target, name))

    def write(self):
        target = self.random.choice(self.pool)
        name = self.random.choice(dir(type(target)))
        if name in NEVER_SET or isinstance(target, type):
            return
        if self.random.random() < 0.2:
            self.say("delete", target, name)
            delattr(target, name)
        else:
            value = self.value()
            self.say("write", target, name, value)
            setattr(target, name, value)

    def forget(self):
        self.say("forget")
        if len(self.pool) > 5:
            self.pool.pop(self.random.randrange(1, len(self.pool)))
        if self.random.random() < 0.2:
            gc.collect()

    def run(self):
        """A few turns of some loop."""
        loops = [loop for loop in self.pool if isinstance(loop, _core.Loop)]
        loop = self.random.choice([self.loop, *loops])
        self.say("run", loop)
        asyncio._set_running_loop(None)
        loop.call_soon(loop.stop)
        loop.run_forever()


# After these most of what follows is refused.
ENDS = {"close", "_close", "_run_forever_cleanup"}
DUNDERS = {
    "__contains__",
    "__delitem__",
    "__getitem__",
    "__iadd__",
    "__len__",
    "__reversed__",
    "__setitem__",
    "__await__",
    "__iter__",
    "__next__",
    "__repr__",
    "__del__",
    "__init__",
    "__call__",
    "__eq__",
    "__hash__",
    "__lt__",
}


class Hostile:
    """Looks like anything, and takes a step whenever it is asked."""

    def __init__(self, program):
        self.program = program

    def _any(self, *args):
        self.program.nested()
        return self.program.random.choice([0, 1, -1, True, None, 10**30])

    __eq__ = __lt__ = __index__ = __float__ = __len__ = __bool__ = __int__ = fileno = __hash__ = _any

    def __iter__(self):
        self.program.nested()
        return iter(self.program.pool[:3])

    def __await__(self):
        yield self.program.random.choice(self.program.pool)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        self.program.nested()
        return self.program.random.choice(self.program.pool)

    def __del__(self):
        self.program.nested()


class Protocol(asyncio.Protocol, asyncio.DatagramProtocol):
    def __init__(self, program):
        self.program = program

    def _any(self, *args):
        self.program.nested()

    connection_made = connection_lost = data_received = eof_received = datagram_received = _any
    error_received = pause_writing = resume_writing = _any


class BufferedProtocol(asyncio.BufferedProtocol):
    def __init__(self, program):
        self.program = program
        self.buffer = bytearray(10)

    def get_buffer(self, sizehint):
        self.program.nested()
        return self.program.random.choice(
            [self.buffer, self.buffer, memoryview(self.buffer), b"", None, bytearray()]
        )

    def buffer_updated(self, count):
        self.program.nested()
        if self.program.random.random() < 0.1:
            self.buffer.clear()


def end_steps_that_wait(program):
    """Raise StepTooLong in steps that take longer than STEP_SECONDS, again and again: a destructor may swallow it."""

    def too_long(*args):
        if program.in_step:
            raise StepTooLong

    signal.signal(signal.SIGALRM, too_long)


def run(seed, steps, verbose=False):
    """Run the program of a seed. Raises SystemError where a step has."""
    logging.disable()
    sys.unraisablehook = lambda args: None
    sys.set_coroutine_origin_tracking_depth(0)
    program = Program(seed, verbose)
    end_steps_that_wait(program)
    program.open()
    for _ in range(steps):
        program.depth = 0
        if _core.Loop.is_closed(program.loop):
            program.open()
        signal.setitimer(signal.ITIMER_REAL, STEP_SECONDS, STEP_SECONDS)
        program.in_step = True
        try:
            program.step()
        except StepTooLong:
            pass
        program.in_step = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    asyncio._set_running_loop(None)
    program.depth = LIMIT_OF_DEPTH
    program.pool.clear()
    gc.collect()
    if program.systemerrors:
        raise SystemError(f"seed {seed}: {program.systemerrors}")
