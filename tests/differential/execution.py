"""Running a program on one implementation, and the trace that it leaves."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import contextvars
import functools
import gc
import itertools
import logging
import re
import signal
import sys
import types
import warnings
from typing import Any

import asyncio_c

# The stock names, also while asyncio_c is patched in.
StockFuture = asyncio.Future
StockTask = asyncio.Task
PythonFuture = asyncio.futures._PyFuture  # type: ignore[attr-defined]
PythonTask = asyncio.tasks._PyTask  # type: ignore[attr-defined]
current_task = asyncio.current_task


class TimerHandle(asyncio.TimerHandle):
    """A stock timer among which those with the same deadline fire in the order in which they were made.

    asyncio leaves their order undefined; asyncio_c does not.
    """

    __slots__ = ("_order",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._order = next(_order)
        if self._source_traceback:
            del self._source_traceback[-1]

    def __lt__(self, other: TimerHandle) -> bool:
        return (self._when, self._order) < (other._when, other._order)


_order = itertools.count()

# name: (loop, what the name `asyncio` means to the program, whether asyncio itself is patched)
VARIANTS: dict[str, tuple[Any, Any, bool]] = {
    "asyncio": (asyncio.SelectorEventLoop, asyncio, False),
    "loop_only": (asyncio_c.Loop, asyncio, False),
    "native": (asyncio_c.Loop, asyncio_c, False),
    "patched": (asyncio_c.Loop, asyncio, True),
}
OURS = [name for name in VARIANTS if name != "asyncio"]

LIMIT = 60  # virtual seconds after which a program is given up
HANG = 10  # real seconds after which a run counts as hanging
LONGEST = 2000  # events of a trace; what is beyond is not compared
PROGRAM = "<program>"

Event = tuple[Any, ...]


class Boom(Exception):
    pass


class BaseBoom(BaseException):
    pass


class Hang(BaseException):
    """A run that does not come to its end; the trace will show where."""


# ---- how things are described ----

_IN_C = (
    r"wait|wait_for|sleep|to_thread|_ContextManagerMixin\.\w+|as_completed\.<locals>\._wait_for_one"
    r"|(?:Lock|Event|Condition|Semaphore|Barrier|Queue|_AsCompletedIterator)\.\w+"
    r"|StreamReader\.\w+|StreamWriter\.\w+"
)
_MASKS = (
    (re.compile(r"0x[0-9a-fA-F]+"), "0x"),
    (re.compile(r"\bTask-\d+"), "Task-N"),
    (re.compile(r"\b(_asyncio|asyncio_c\._core|asyncio_c\.loop|asyncio\.sslproto|asyncio_c\.tls)\."), ""),
    (re.compile(r"<[\w.]*Loop (?=running=)"), "<Loop "),
    # Stock functions in Python and native ones are different callbacks, of the same number.
    (re.compile(r"\.\.\.\w*\(\)\]>(?=\))"), "...>"),  # a future among a callback's arguments, shortened
    (re.compile(r" cb=\[.*?\](?=[ >])"), ""),
    # A function in C has no line of its own that could have created something.
    (re.compile(r" created at (<program>|[^\s>:]+):\d+"), ""),
    (re.compile(r"\.\.\.(?:[^\s>]*\.py| ?<program>):\d+>"), "...>"),
    (re.compile(r"<\w+Transport (?=fd=|clos)"), "<Transport "),
    (re.compile(r"\bfd=\d+"), "fd=N"),
    # A callback in C has no line, either.
    (re.compile(r"shield\.<locals>\."), "shield."),
    (re.compile(r"(_(?:inner|outer)_done_callback\([^\n]*?\)) at [\w./-]*tasks\.py:\d+"), r"\1"),
    # A coroutine in C has no lines.
    (re.compile(rf"<({_IN_C})\(\) [^<>]*>"), r"<\1()>"),
    # The order of a set is that of addresses.
    (re.compile(r"\{[^{}]*\}"), "{...}"),
    (re.compile(r"\nsource_traceback: Object created at .*\n(  .*\n?)*"), ""),
    (re.compile(r"/[\w./-]*/(?=\w+\.py)"), ""),
)


def masked(text: str) -> str:
    """Replace what differs from run to run, and between implementations by design."""
    for pattern, replacement in _MASKS:
        text = pattern.sub(replacement, text)
    return text


def places(error: BaseException) -> str:
    """Return the lines of the program in the traceback of an exception."""
    lines = []
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == PROGRAM:
            lines.append(f"{traceback.tb_frame.f_code.co_name}:{traceback.tb_lineno}")
        traceback = traceback.tb_next
    return " ".join(lines)


def described_error(error: BaseException, depth: int = 6) -> str:
    """Describe an exception: type, arguments, lines of the program, notes, and the chain behind it."""
    text = f"{type(error).__name__}({', '.join(map(described, error.args))})"
    if where := places(error):
        text += f" at {where}"
    for note in getattr(error, "__notes__", ()):
        text += f" note {note!r}"
    if isinstance(error, BaseExceptionGroup):
        text += f" of {[described_error(inner, depth - 1) for inner in error.exceptions]}"
    if depth == 0:
        return text
    if error.__cause__ is not None:
        text += f" cause ({described_error(error.__cause__, depth - 1)})"
    if error.__context__ is not None and error.__context__ is not error.__cause__:
        hidden = "hidden " if error.__suppress_context__ else ""
        text += f" {hidden}context ({described_error(error.__context__, depth - 1)})"
    return text


def described(value: Any) -> str:
    """Describe any value, the same for a stock one and its native twin."""
    if isinstance(value, BaseException):
        return described_error(value)
    if isinstance(value, (set, frozenset)):
        return "{" + ", ".join(sorted(map(described, value))) + "}"
    if isinstance(value, (list, tuple)):
        # The frames below the program's own are those of whoever runs it.
        return "(" + ", ".join(text for text in map(described, value) if text != "outside") + ")"
    if isinstance(value, types.FrameType):
        inside = value.f_code.co_filename == PROGRAM
        return f"{value.f_code.co_name}:{value.f_lineno}" if inside else "outside"
    return masked(repr(value))


class _Log(logging.Handler):
    def __init__(self, emit: Any) -> None:
        super().__init__()
        self.emit = emit


# Exceptions of what was deleted have been raised again in other places, or not yet: stock cycles of a loop that an
# exception has left keep things longer.
_PLACES = re.compile(r" at [\w<>]+:\d+(?: [\w<>]+:\d+)*")
# In what order the collector closes the coroutine of a cycle and finds its task is its own affair, and so is which coroutine
# is closed first, and wakes another or has it fail.
_UNFINISHED = re.compile(r"(coro=<[\w.<>]+\(\)) (?:running|done, defined)(?: at [\w.<>]+:\d+)?>")
_CLOSED = re.compile(r"(?<=\)) context \(GeneratorExit\(\).*\)$| wait_for=<Future [^<>]*>")
_LATE = ("was never retrieved", "was destroyed but it is pending", "was never awaited")


class Trace:
    """The events of one run: in order, and those that come when something is deleted, whose order is not compared."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.late: list[str] = []
        self.loop: Any = None
        self.turn = 0

    def __call__(self, *event: Any) -> None:
        if len(self.events) < LONGEST and not self._is_over():
            self.events.append((*self._circumstances(), *map(described, event)))

    def _circumstances(self) -> Event:
        try:
            task = current_task()
        except RuntimeError:
            task = None
        name = masked(task.get_name()) if task is not None else "-"
        cancelling = task.cancelling() if task is not None else 0
        return (self.turn, self.loop.time(), name, cancelling, var.get())

    def _is_over(self) -> bool:
        """Return whether what happens now is up to the collector, which closes coroutines of a closed loop in its own order."""
        return self.loop is not None and self.loop.is_closed()

    def unraisable(self, error: BaseException | None) -> None:
        if not self._is_over():
            self.late.append(f"unraisable {described(error)}")

    def record(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        message = masked(record.getMessage())
        if any(text in message for text in _LATE):
            self.late.append(f"{record.levelname} {message} {described(error)}")
        else:
            self("log", record.levelname, message, error)

    def handle(self, loop: Any, context: dict[str, Any]) -> None:
        """The exception handler of programs that have one of their own."""
        items = [(key, value) for key, value in sorted(context.items()) if key != "source_traceback"]
        if any(text in context["message"] for text in _LATE):
            self.late.append(described(items))
        else:
            self("handler", items)


var: contextvars.ContextVar[int] = contextvars.ContextVar("var", default=0)


# ---- what a program finds ----


class Awaitable:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __await__(self) -> Any:
        return (yield from self.inner.__await__())


@types.coroutine
def bare_yield() -> Any:
    yield


@types.coroutine
def yield_none_from(task: Any) -> Any:
    """Wait in the way of a generator-based coroutine, with a turn in between."""
    yield
    return (yield from task)


class OrderedSet(dict[Any, None]):
    """Instead of the set of a TaskGroup, whose order is that of addresses."""

    add = dict.setdefault

    def discard(self, item: Any) -> None:
        self.pop(item, None)


class Run:
    """One run of a program on one implementation."""

    new_trace = Trace
    grace_ms = ready_ms = 0  # for the virtual clock

    def __init__(self, program: Any, variant: str, clock: Any) -> None:
        self.variant = variant
        self.clock = clock
        self.log = self.new_trace()
        self.code = compiled(program.source())
        self.loop_type, self.asyncio, self.is_patched = VARIANTS[variant]
        self.program = program

    def trace(self) -> tuple[list[Event], list[str]]:
        """Run the program, and return its events and the sorted reports of what was deleted unfinished."""
        with self._recorded():
            self.clock.start(self.grace_ms, self.ready_ms)
            # Where a generator or a task is collected is up to reference counts alone.
            gc.disable()
            # What is older than the run is out of the collector's sight, or its collections would take all the time.
            gc.freeze()
            stock_timer = asyncio.events.TimerHandle
            try:
                if self.variant == "asyncio":  # ours would notice it, and make no timers of its own any more
                    asyncio.events.TimerHandle = TimerHandle
                if self.is_patched:
                    asyncio_c.patch()
                contextvars.Context().run(self._run)
            finally:
                asyncio_c.uninstall()
                asyncio.events.TimerHandle = stock_timer
                gc.collect()
                gc.enable()
                self.clock.stop()
        return self.log.events, sorted(
            _CLOSED.sub("", _UNFINISHED.sub(r"\1>", _PLACES.sub("", text))) for text in self.log.late
        )

    @contextlib.contextmanager
    def _recorded(self) -> Any:
        logger = logging.getLogger("asyncio")
        handler = _Log(self.log.record)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        hook = sys.unraisablehook
        sys.unraisablehook = lambda args: self.log.unraisable(args.exc_value)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                yield
                self.log.late += [
                    f"{w.category.__name__} {masked(str(w.message).splitlines()[0])}" for w in caught
                ]
        finally:
            sys.unraisablehook = hook
            logger.removeHandler(handler)

    def _new_loop(self) -> Any:
        if not self.program.options.slow:
            return self.loop_type()

        class SlowLoop(self.loop_type):  # type: ignore[misc]
            def time(self) -> float:
                return super().time()

        return SlowLoop()

    def _run(self) -> None:
        self.loop = loop = self.log.loop = self._new_loop()
        if self.program.options.debug:
            loop.set_debug(True)
            loop.slow_callback_duration = 0.75
        if self.program.options.handler:
            loop.set_exception_handler(self.log.handle)
        self._set_task_factory()
        names = self._names()
        exec(self.code, names)
        if self.program.options.ticking:
            loop.call_soon(self._tick)
        try:
            with self._alarm():
                main_task = names["main_task"] = loop.create_task(names["main"](), name="main")
                self._drive(main_task)
                self._end(names)
        finally:
            # The frames in tracebacks keep asyncio's writer alive: when it warns that it was not closed is not compared.
            self.transport.closing = True
            names.clear()
            loop.close()

    def _set_task_factory(self) -> None:
        factory: Any = None
        if self.program.options.factory == "eager":
            factory = asyncio.create_eager_task_factory(self.asyncio.Task)
        elif self.program.options.factory == "python":
            factory = functools.partial(self._make_task, named(PythonTask))
        elif self.program.options.factory == "subclass":
            factory = functools.partial(self._make_task, named(self.asyncio.Task))
        self.loop.set_task_factory(factory)

    @staticmethod
    def _make_task(cls: Any, loop: Any, coroutine: Any, **options: Any) -> Any:
        return cls(coroutine, loop=loop, **options)

    def _drive(self, main_task: Any) -> None:
        """Run until main ends; a callback that stops the loop, or breaks out of it, is only an interruption."""
        self.loop.call_later(LIMIT, self._give_up)
        while not main_task.done() and self.loop.time() < 1000 + LIMIT:
            try:
                self.log("main returned", self.loop.run_until_complete(main_task))
            except BaseException as error:
                self.log("left the loop", error)
                if isinstance(error, Hang):
                    raise

    def _end(self, names: dict[str, Any]) -> None:
        """Let what main left run on, then cancel it; log how everything ended."""
        self._run_on()
        tasks = asyncio.all_tasks(self.loop)
        self.log("left over", tasks)
        counts = collections.Counter(task.get_name() for task in tasks)
        # Python 3.13.0 calls all tasks of a factory None. Those stay as they are, for nothing would order them.
        tasks = sorted((task for task in tasks if counts[task.get_name()] == 1), key=creation)
        while tasks:
            attempt(tasks.pop(0).cancel)  # which raises if tasks wait for each other in a circle
        self._run_on()
        self.log("left over after cancellation", asyncio.all_tasks(self.loop))
        for name in [f"{kind}{number}" for kind in "tf" for number in range(5)]:
            self.log(name, names.get(name), attempt(lambda name=name: names[name].result()))

    def _run_on(self) -> None:
        deadline = self.loop.time() + 20
        self.loop.call_later(20, self.loop.stop)
        while self.loop.time() < deadline:
            try:
                self.loop.run_forever()
            except BaseException as error:
                self.log("left the loop", error)
                if isinstance(error, Hang):
                    raise

    def _give_up(self) -> None:
        self.log("given up")
        self.loop.stop()

    def _tick(self) -> None:
        self.log.turn += 1
        self.clock.advance(1)
        self.loop.call_soon(self._tick)

    @contextlib.contextmanager
    def _alarm(self) -> Any:
        """Raise Hang in a block that takes too long."""
        signal.signal(signal.SIGALRM, self._hang)
        signal.setitimer(signal.ITIMER_REAL, HANG)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _hang(self, *signal: Any) -> None:
        raise Hang

    def _names(self) -> dict[str, Any]:
        loop, log, aio = self.loop, self.log, self.asyncio
        event, condition, lock = aio.Event(), aio.Condition(), aio.Lock()

        async def leaf(number: int) -> int:
            log("leaf", number)
            await aio.sleep(0)
            log("leaf ends", number)
            return number

        async def failing(number: int) -> None:
            await aio.sleep(0)
            raise Boom(number)

        async def stubborn(number: int) -> int:
            try:
                await aio.sleep(1)
            except aio.CancelledError as error:
                log("stubborn", error)
                await aio.sleep(number - 2)
            return number

        async def condition_wait(condition: Any = condition) -> Any:
            async with condition:
                condition.notify()
                return await condition.wait()

        async def condition_wait_for(condition: Any = condition, predicate: Any = event.is_set) -> Any:
            async with condition:
                return await condition.wait_for(predicate)

        class OwnLock(aio.Lock):  # type: ignore[misc,name-defined]
            async def acquire(self) -> Any:
                log("acquire", self.locked())
                return await super().acquire()

            def release(self) -> None:
                log("release")
                super().release()

        class OwnCondition(aio.Condition):  # type: ignore[misc,name-defined]
            async def wait(self) -> Any:
                log("wait", self.locked())
                return await super().wait()

            def notify(self, n: int = 1) -> None:
                log("notify", n)
                super().notify(n)

        class OwnBarrier(aio.Barrier):  # type: ignore[misc,name-defined]
            async def wait(self) -> Any:
                log("wait", self.n_waiting)
                return await super().wait()

            async def _block(self) -> None:
                log("block", self._count)
                await super()._block()

        class OwnQueue(aio.Queue[Any]):  # type: ignore[misc,name-defined]
            def _init(self, maxsize: int) -> None:
                self._queue: Any = []

            def _get(self) -> Any:
                log("get", len(self._queue))
                return self._queue.pop(len(self._queue) // 2)

            def _put(self, item: Any) -> None:
                self._queue.append((item,))

        async def generator(step: Any) -> Any:
            try:
                for number in range(2):
                    yield number
                    await step()
            finally:
                log("generator ends")
                await aio.sleep(0)

        class TaskGroup(aio.TaskGroup):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self._tasks = OrderedSet()

        class Managed:
            async def __aenter__(self) -> None:
                await aio.sleep(0)
                log("entered")

            async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> bool:
                log("left", error)
                await aio.sleep(0)
                return isinstance(error, Boom)

        class Transport(asyncio.Transport):
            """What a stream has to do with; it only tells what is asked of it."""

            closing = False

            def is_closing(self) -> bool:
                return self.closing

            def close(self) -> None:
                log("transport closes")
                self.closing = True

            def write(self, data: bytes) -> None:
                log("transport writes", data)

            def pause_reading(self) -> None:
                log("transport pauses")

            def resume_reading(self) -> None:
                log("transport resumes")

        reader = aio.StreamReader(limit=4, loop=loop)
        protocol = aio.StreamReaderProtocol(reader, loop=loop)
        self.transport = Transport()
        protocol.connection_made(self.transport)

        return {
            "reader": reader,
            "protocol": protocol,
            "writer": aio.StreamWriter(protocol._transport, protocol, reader, loop),
            **{f"f{number}": loop.create_future() for number in range(3)},
            **{f"t{number}": None for number in range(3)},
            **{f"{kind}{number}": None for kind in "hsg" for number in range(2)},
            "asyncio": aio,
            "loop": loop,
            "log": log,
            "attempt": attempt,
            "pending": pending,
            "var": var,
            "advance": self.clock.advance,
            "collect": gc.collect,
            "new_name": map("named-{}".format, itertools.count()).__next__,
            "in_turns": self._in_turns,
            "later": lambda delay, call: loop.call_later(delay, self._disturb, call),
            "interrupt": interrupt,
            "run_nested": functools.partial(self._run_nested, leaf),
            "shared_context": contextvars.copy_context(),
            "queue": aio.Queue(1),
            "priority": aio.PriorityQueue(2),
            "lifo": aio.LifoQueue(2),
            "endless": aio.Queue(),
            "own_queue": OwnQueue(2),
            "event": event,
            "lock": lock,
            "own_lock": OwnLock(),
            "semaphore": aio.Semaphore(1),
            "bounded": aio.BoundedSemaphore(2),
            "condition": condition,
            "shared": aio.Condition(lock),
            "own_condition": OwnCondition(OwnLock()),
            "barrier": aio.Barrier(2),
            "three": aio.Barrier(3),
            "own_barrier": OwnBarrier(2),
            "condition_wait_for": condition_wait_for,
            "leaf": leaf,
            "failing": failing,
            "stubborn": stubborn,
            "condition_wait": condition_wait,
            "generator": generator,
            "Managed": Managed,
            "Awaitable": Awaitable,
            "bare_yield": bare_yield,
            "yield_none_from": yield_none_from,
            "TaskGroup": TaskGroup,
            "Boom": Boom,
            "BaseBoom": BaseBoom,
            "StockFuture": StockFuture,
            "StockTask": StockTask,
            "PythonFuture": PythonFuture,
        }

    def _in_turns(self, turns: int, call: Any) -> None:
        if turns:
            self.loop.call_soon(self._in_turns, turns - 1, call)
        else:
            self._disturb(call)

    def _disturb(self, call: Any) -> None:
        result = attempt(call)
        self.log("from outside", result)
        if isinstance(result, KeyboardInterrupt):
            raise result

    def _run_nested(self, leaf: Any, delay: int) -> Any:
        """Run another loop to its end, with the running one set aside, as tools for nested loops do."""
        asyncio._set_running_loop(None)
        other = self._new_loop()
        try:

            async def nested() -> Any:
                await self.asyncio.sleep(delay)
                return await self.asyncio.gather(leaf(delay), leaf(delay + 1))

            return other.run_until_complete(nested())
        finally:
            other.close()
            asyncio._set_running_loop(self.loop)


def attempt(call: Any) -> Any:
    """Return what `call()` returns, or the exception that it raises."""
    try:
        return call()
    except BaseException as error:
        if isinstance(error, Hang):
            raise
        return error


def pending(*futures: Any) -> list[Any]:
    """Return those that are not done: of as many as are, as_completed() would take one after the other by their addresses."""
    return [future for future in futures if future is not None and not future.done()]


def named(base: Any) -> Any:
    """Return a class of tasks that keep their number where create_task() would call them None."""

    class Subclass(base):  # type: ignore[misc]
        def set_name(self, name: object) -> None:
            if name is not None:
                super().set_name(name)

    return Subclass


def interrupt() -> None:
    """Do what Ctrl-C does."""
    raise KeyboardInterrupt


def creation(task: Any) -> tuple[int, str]:
    """Return the place of a task in the order of creation: those with a name of their own first.

    Only what loop.create_task() makes goes without a name, so that one counter numbers all the others.
    """
    name = task.get_name()
    return (int(name[5:]), "") if name.startswith("Task-") else (-1, name)


@functools.lru_cache(maxsize=64)
def compiled(source: str) -> types.CodeType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a return in a finally block is what such programs are for
        return compile(source, PROGRAM, "exec")
