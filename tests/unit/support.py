"""What the unit tests share: the implementations under test, a virtual clock, log and warning recorders.

A test takes the fixture `impl` (or `loop`, which is a fresh loop of `impl`) and therefore runs once on each of

    asyncio    stock loop, stock names: proves that the test is right about asyncio
    loop_only  our loop, stock names: what a server with `--loop asyncio_c:new_event_loop` gets
    native     our loop, our names

pytest is not imported: programs of tests/crash and others fork and end Python thousands of times, which takes twice as long with it.
The import of asyncio_c happens in `load`, not at import time, so that collection works without the built core.
"""

import asyncio
import concurrent.futures
import contextlib
import ctypes
import gc
import logging
import platform
import re
import sys
import sysconfig
import threading
import types
import warnings

NAMES = ("asyncio", "loop_only", "native")
PRIMITIVES = (
    "Lock",
    "Event",
    "Condition",
    "Semaphore",
    "BoundedSemaphore",
    "Barrier",
    "Queue",
    "PriorityQueue",
    "LifoQueue",
)
STREAMS = ("StreamReader", "StreamReaderProtocol", "StreamWriter")
STREAM_FUNCTIONS = ("open_connection", "open_unix_connection", "start_server", "start_unix_server")
NAMES_WITH_NATIVE_TWIN = (
    "Future",
    "Task",
    "sleep",
    "gather",
    "wait",
    "create_task",
    "TaskGroup",
    "Runner",
    *PRIMITIVES,
    *STREAMS,
    *STREAM_FUNCTIONS,
    "Timeout",
    "timeout",
    "timeout_at",
    "wait_for",
    "shield",
    "as_completed",
    "to_thread",
    "current_task",
    "all_tasks",
)
PY312 = sys.version_info >= (3, 12)
PY313 = sys.version_info >= (3, 13)
PY314 = sys.version_info >= (3, 14)
PY315 = sys.version_info >= (3, 15)
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
# 3.13 guards no exception: one that several threads raise, with or without us, frees its traceback twice.
GUARDED_EXCEPTIONS = PY314 or not FREE_THREADED
# An interpreter that the thread sanitizer watches: ten times as slow, and debug builds are that again.
SANITIZED = "--with-thread-sanitizer" in (sysconfig.get_config_var("CONFIG_ARGS") or "")


def often(times):
    """How often threads are to do something for them to meet in it: the sanitizer sees what would happen if they did."""
    return times // 10 if SANITIZED else times


def check_gil():
    """Where there is none, no module that was imported may have brought the GIL back."""
    assert not FREE_THREADED or not sys._is_gil_enabled(), "the GIL is on"


def _run_in_runner(new_event_loop):
    def run(main, *, debug=None):
        with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
            return runner.run(main)

    return run


def load(name):
    """Return a namespace of one implementation: a loop factory, `Loop`, and the names of NAMES_WITH_NATIVE_TWIN."""
    impl = types.SimpleNamespace(name=name, native_loop=name != "asyncio", native_names=name == "native")
    if name == "asyncio":
        impl.Loop = asyncio.SelectorEventLoop
        impl.new_event_loop = asyncio.SelectorEventLoop
    else:
        import asyncio_c

        impl.Loop = asyncio_c.Loop
        impl.new_event_loop = asyncio_c.new_event_loop
    source = asyncio
    if name == "native":
        import asyncio_c as source
    for public in NAMES_WITH_NATIVE_TWIN:
        setattr(impl, public, getattr(source, public))
    impl.run = source.run if name == "native" else _run_in_runner(impl.new_event_loop)
    return impl


def run_once(loop, times=1):
    """Run `times` iterations of `loop`, none of which waits."""
    for _ in range(times):
        loop.stop()
        loop.run_forever()


async def turns(count=5):
    """Wait for as many turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


def run_until_idle(loop, times=30):
    """Run enough iterations for every chain of wake-ups in these tests to end."""
    run_once(loop, times)


# Numbers of epoll_wait, epoll_pwait, epoll_pwait2, poll, ppoll.
WAITS = {"x86_64": {232, 281, 441, 7, 271}, "aarch64": {22, 441, 73}}.get(platform.machine(), set())

_FUTEX = {"x86_64": "202", "aarch64": "98"}.get(platform.machine())


def wait_until_asleep(native_id):
    """In a thread: return when another thread of the process is in the system call in which a loop waits."""
    number = None
    while number not in WAITS:
        with open(f"/proc/self/task/{native_id}/syscall") as file:
            first = file.read().split()[0]
        number = int(first) if first.isdigit() else None


def wait_until_blocked_or_ended(thread):
    """Return when another thread waits for a lock without a limit, as none does for the interpreter's, or has ended."""
    while thread.is_alive():
        try:
            with open(f"/proc/self/task/{thread.native_id}/syscall") as file:
                fields = file.read().split()
        except OSError:
            continue  # it ends right now
        if fields[0] == _FUTEX and fields[4] == "0x0":
            return


def set_async_exception(thread_id, error):
    """Raise an exception in a thread, which does so when it runs bytecode."""
    number = ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(error))
    assert number == 1


def collect():
    """Collect cycles, and what their collection made unreachable."""
    for _ in range(3):
        gc.collect()


def at_once(*functions):
    """Call each function in a thread of its own, all at the same time. Return what they returned, or raise what one raised."""
    barrier = threading.Barrier(len(functions))
    answers = [None] * len(functions)
    errors = []

    def call(position, function):
        barrier.wait()
        try:
            answers[position] = function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=entry, daemon=True) for entry in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "it hangs"
    if errors:
        raise errors[0]
    return answers


@contextlib.contextmanager
def running_in_thread(loop):
    """Run `loop` in a thread of its own for the length of the block."""
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    started = threading.Event()
    loop.call_soon(started.set)
    thread.start()
    started.wait()
    try:
        yield thread
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def raised_in_thread(function, *args):
    """Call `function` in a thread of its own; return the exception that it has raised, or None."""
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        return executor.submit(function, *args).exception()


class VirtualClock:
    """Let one iteration of a loop be one second.

    A ticker callback is always queued, so the loop never waits in its poll, and each iteration moves the time that
    `loop.time()` answers by exactly 1.0: timers fire at an exact iteration, on any machine under any load.
    """

    def __init__(self):
        self.now = 1000.0
        self.loop = None
        self.running = False

    def start(self, loop):
        self.loop = loop
        self.running = True
        loop.call_soon(self._tick)

    def stop(self):
        self.running = False

    def _tick(self):
        if self.running:
            self.now += 1.0
            self.loop.call_soon(self._tick)


def new_virtual_loop(impl):
    """Return `(loop, clock)`: a loop of `impl` whose `time()` is overridden in a subclass by a VirtualClock."""
    clock = VirtualClock()

    class VirtualLoop(impl.Loop):
        def time(self):
            return clock.now

    loop = VirtualLoop()
    clock.start(loop)
    return loop, clock


@contextlib.contextmanager
def patched():
    """asyncio_c.patch() for the length of the block: stock names rebound to native twins."""
    import asyncio_c

    asyncio_c.patch()
    try:
        yield
    finally:
        asyncio_c.unpatch()


@contextlib.contextmanager
def closing(loop):
    """Close `loop` at the end, after cancelling what is left on it, so that nothing is reported by accident."""
    try:
        yield loop
    finally:
        if loop.is_running():
            loop.stop()
        elif not loop.is_closed():
            loop.set_task_factory(None)
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            del tasks
            run_until_idle(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


class _ListHandler(logging.Handler):
    def __init__(self, records):
        super().__init__()
        self.records = records

    def emit(self, record):
        self.records.append(record)


@contextlib.contextmanager
def recorded_logs(least=logging.INFO):
    """Record what the logger `asyncio` is told, as a list of `(level name, message, exception type name or None)`."""
    records = []
    entries = []
    handler = _ListHandler(records)
    logger = logging.getLogger("asyncio")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    # DEBUG adds the line in which a stock loop names its selector.
    logger.setLevel(least)
    logger.propagate = False
    try:
        yield entries
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
        for record in records:
            exc_type = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
            entries.append((record.levelname, record.getMessage(), exc_type))


@contextlib.contextmanager
def recorded_warnings():
    """Record warnings as a list of `(category name, text)`, filled when the block ends."""
    entries = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield entries
    entries.extend((w.category.__name__, str(w.message)) for w in caught)


@contextlib.contextmanager
def recorded_unraisables():
    """Record what reaches `sys.unraisablehook`, as a list of `(exception type name, text)`."""
    entries = []
    previous = sys.unraisablehook
    sys.unraisablehook = lambda args: entries.append((args.exc_type.__name__, str(args.exc_value)))
    try:
        yield entries
    finally:
        sys.unraisablehook = previous


_MASKS = (
    (re.compile(r"0x[0-9a-fA-F]+"), "0x"),
    (re.compile(r"\bTask-\d+"), "Task-N"),
    (re.compile(r"\bpid=\d+"), "pid=N"),
    # Built-in methods name the module of their type.
    (re.compile(r"\b(_asyncio|asyncio_c\._core)\.(?=Task|Future)"), ""),
    # The loop is the one object whose class name differs by design.
    (re.compile(r"<[\w.]*Loop (?=running=)"), "<Loop "),
    (re.compile(r"\b\d+\.\d+(e-?\d+)? seconds"), "N seconds"),
    (re.compile(r"when=\d+(\.\d+)?"), "when=N"),
)


def masked(text):
    """Replace what differs from run to run (addresses, counters of task names, times) in a message."""
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return text


def described(exc):
    """Return the type and the masked text of an exception, to compare implementations."""
    return f"{type(exc).__name__}: {masked(str(exc))}"


class Trace:
    """What happened, in order; `mark` may note the iteration of a VirtualClock as well."""

    def __init__(self, clock=None):
        self.clock = clock
        self.events = []

    def __call__(self, *event):
        event = tuple(masked(repr(e)) if isinstance(e, BaseException) else e for e in event)
        if self.clock is not None:
            event = (self.clock.now, *event)
        self.events.append(event)
