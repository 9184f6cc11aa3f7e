"""asyncio_c.watch(): a thread that tells who blocks a loop. What blocks waits, without a time, for the report of it."""

import asyncio
import contextlib
import gc
import logging
import os
import re
import socket
import subprocess
import sys
import textwrap
import threading
import time
import types
import warnings
import weakref

import pytest

import asyncio_c
from asyncio_c import _core
from asyncio_c.monitor import watchdog

from . import support
from .support import closing

SOON = 0.01  # seconds: what waits for its report takes longer in any case
PATIENCE = 60  # after which a test that hangs fails
THIS_FILE = __file__
WORST = re.compile(r"(a+)+$")


class Reports:
    """What was reported, and who waits for it."""

    def __init__(self):
        self.all = []
        self.told = {False: threading.Semaphore(0), True: threading.Semaphore(0)}

    def __call__(self, report):
        # Nobody waits for that one, which may be slow on a busy machine.
        if "_run_until_complete_cb" not in report.callback:
            self.all.append(report)
            self.told[report.ended].release()

    def of(self, *names):
        """Those of callbacks of these names: on a busy machine others may be slow, too."""
        return [report for report in self.all if any(name in report.callback for name in names)]

    def wait(self, ended=False):
        assert self.told[ended].acquire(timeout=PATIENCE)

    def blocked(self):
        """Block until that is reported."""
        self.wait()  # HERE

    def in_regular_expression(self):
        # A list is asked, and no Semaphore, whose methods are Python: it is here that it is seen.
        while not self.all: WORST.match("a" * 18 + "b")  # fmt: skip  # noqa: E701 REGEX


def line_of(mark):
    with open(THIS_FILE) as file:
        return next(number for number, line in enumerate(file, 1) if line.rstrip().endswith(mark))


@pytest.fixture
def reports():
    return Reports()


@pytest.fixture
def loop(ours):
    with closing(ours.new_event_loop()) as loop:
        yield loop


@pytest.fixture
def watched(loop, reports):
    """`(loop, watch)`: a loop whose every blocking callback is reported to `reports`."""
    with asyncio_c.watch(loop, SOON, reports) as watch:
        yield loop, watch
    if watch._thread is not None:
        watch._thread.join(PATIENCE)
        assert not watch._thread.is_alive()


def run(loop, function, *args):
    loop.call_soon(function, *args)
    support.run_once(loop)


def test_a_task_is_reported_while_it_blocks_and_at_its_end(watched, reports):
    loop, _ = watched

    async def main():
        reports.blocked()

    loop.run_until_complete(loop.create_task(main(), name="of interest"))
    reports.wait(ended=True)
    first, last = reports.of("main()")
    assert (first.task, first.ended, last.task, last.ended) == ("of interest", False, "of interest", True)
    assert "main() running at" in first.callback
    assert first.seconds >= SOON
    assert last.seconds >= first.seconds
    functions = [frame.name for frame in first.stack]
    assert functions[:3] == ["main", "blocked", "wait"]
    assert (first.stack[1].filename, first.stack[1].lineno) == (THIS_FILE, line_of("# HERE"))
    # Semaphore.acquire() is Python, and waits in a Condition.
    assert first.file == threading.__file__
    assert (first.file, first.line, first.function) == (
        first.stack[-1].filename,
        first.stack[-1].lineno,
        functions[-1],
    )
    assert last.stack == first.stack


def test_each_blocking_is_reported_once(watched, reports):
    loop, _ = watched
    for _ in range(3):
        run(loop, reports.blocked)
        reports.wait(ended=True)
    found = reports.of("blocked")
    assert [report.ended for report in found] == [False, True] * 3
    assert all(report.task is None for report in found)


@pytest.mark.parametrize("kind", ["lock", "socket", "pure Python", "regular expression"])
def test_ways_to_block(watched, reports, kind):
    loop, _ = watched
    lock = threading.Lock()
    lock.acquire()
    one, other = socket.socketpair()

    def release(report):
        reports(report)
        if not report.ended:
            with contextlib.suppress(RuntimeError):
                lock.release()
            one.send(b"x")

    def for_the_report():
        while not reports.all:
            pass

    ways = {
        "lock": lock.acquire,
        "socket": lambda: other.recv(1),
        "pure Python": for_the_report,
        "regular expression": reports.in_regular_expression,
    }
    watched[1]._report = release
    with one, other:
        run(loop, ways[kind])
    reports.wait(ended=True)
    report = reports.all[0]
    assert not report.ended
    if kind == "lock":  # no frame: the loop itself has called it
        assert (report.file, report.line, report.function, list(report.stack)) == (None, None, None, [])
        assert "acquire" in report.callback
    elif kind == "regular expression":
        assert (report.file, report.line) == (THIS_FILE, line_of("REGEX"))
        assert report.function == "in_regular_expression"
    else:
        assert report.file == THIS_FILE


def test_what_has_ended_before_the_thread_could_look(loop, reports):
    with asyncio_c.watch(loop, 1e-9, reports):
        run(loop, time.monotonic)  # within which no other thread may run, where there is a GIL
        reports.wait(ended=True)
    *earlier, report = reports.of("monotonic")
    assert support.FREE_THREADED or not earlier
    assert report.ended
    assert report.seconds > 0


def test_debug_mode_and_subclasses_know_the_task(ours, reports):
    class Derived(ours.Loop):
        def call_soon(self, callback, *args, context=None):
            return super().call_soon(callback, *args, context=context)

    async def main():
        reports.blocked()

    for loop, debug in ((ours.new_event_loop(), True), (Derived(), False)):
        with closing(loop), asyncio_c.watch(loop, SOON, reports):
            loop.set_debug(debug)
            loop.slow_callback_duration = PATIENCE
            loop.run_until_complete(loop.create_task(main(), name="of interest"))
            reports.wait(ended=True)
            assert {report.task for report in reports.of("main()")} == {"of interest"}
            reports.all.clear()


def test_asyncio_tasks(watched, reports):
    loop, _ = watched
    loop.set_task_factory(lambda loop, coro, **options: asyncio.tasks._CTask(coro, loop=loop, **options))

    async def main():
        asyncio.current_task().set_name("stock")
        reports.blocked()

    loop.run_until_complete(main())
    reports.wait(ended=True)
    assert {report.task for report in reports.of("main()")} == {"stock"}


def test_nested_runs_hold_nobody_up(watched, reports, monkeypatch):
    loop, _ = watched
    monkeypatch.setattr(asyncio_c.Loop, "_nesting_allowed", True)

    async def inner():
        reports.blocked()

    def outer():
        loop.run_until_complete(loop.create_task(inner(), name="inner"))
        reports.wait(ended=True)
        reports.blocked()

    run(loop, outer)
    reports.wait(ended=True)
    found = [report for report in reports.of("inner", "outer") if not report.ended]
    assert [report.task for report in found] == ["inner", None]
    assert "inner" not in [frame.name for frame in found[1].stack]
    assert "outer" not in [frame.name for frame in found[0].stack]


def test_two_watches(watched, reports):
    loop, _ = watched
    others = Reports()
    with asyncio_c.watch(loop, SOON * 2, others) as other:
        run(loop, lambda: (reports.wait(), others.wait()))
        reports.wait(ended=True)
        others.wait(ended=True)
    other._thread.join(PATIENCE)
    assert not other._thread.is_alive()
    run(loop, reports.blocked)
    assert [report.ended for report in others.all] == [False, True]


def test_a_report_that_raises(watched, reports, caplog):
    loop, watch = watched

    def raises(report):
        reports(report)
        raise SystemExit("nobody")

    watch._report = raises
    for _ in range(2):
        run(loop, reports.blocked)
        reports.wait(ended=True)
    watch.close()
    watch._thread.join(PATIENCE)
    records = [record for record in caplog.records if record.name == "asyncio_c"]
    assert len(records) >= 4
    assert all(record.exc_info[0] is SystemExit for record in records)


def test_a_report_that_closes_the_watch(watched, reports):
    loop, watch = watched

    def close(report):
        watch.close()
        reports(report)

    watch._report = close
    run(loop, reports.blocked)
    watch._thread.join(PATIENCE)
    assert not watch._thread.is_alive()
    run(loop, lambda: None)
    assert [report.ended for report in reports.all] == [False]
    assert repr(watch) == f"<Watch closed threshold={SOON}>"


def test_loggers(loop, reports, caplog):
    class Handler(logging.Handler):
        def emit(self, record):
            reports.told[" has blocked " not in record.getMessage()].release()

    for logger, given in ((logging.getLogger("asyncio_c"), None), (logging.getLogger("mine"), "mine")):
        caplog.clear()
        handler = Handler()
        logger.addHandler(handler)
        try:
            with asyncio_c.watch(loop, SOON, given and logger) as watch:
                run(loop, reports.blocked)
                reports.wait(ended=True)
            watch._thread.join(PATIENCE)  # which still hands the record to others
        finally:
            logger.removeHandler(handler)
        first, last = (record for record in caplog.records if "Reports.blocked" in record.getMessage())
        assert (first.name, first.levelname) == (logger.name, "WARNING")
        text = first.getMessage()
        assert re.match(r"Callback Reports.blocked\(\).* has blocked the event loop for \d", text)
        assert f'{THIS_FILE}", line {line_of("# HERE")}, in blocked' in text
        assert re.search(r"blocked the event loop for \d+\.\d+ seconds in \w+, .*:\d+$", last.getMessage())


def test_closing_the_loop_ends_the_thread(ours, reports):
    loop = ours.new_event_loop()
    watch = asyncio_c.watch(loop, SOON, reports)
    run(loop, reports.blocked)
    thread = watch._thread
    loop.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert [report.ended for report in reports.of("blocked")] == [False, True]
    watch.close()


def test_a_loop_that_never_runs_has_no_thread(loop, reports):
    with asyncio_c.watch(loop, SOON, reports) as watch:
        assert watch._thread is None


def test_a_loop_that_is_dropped_ends_the_thread(ours, reports):
    loop = ours.new_event_loop()
    loop.__dict__["itself"] = loop
    gone = weakref.ref(loop)
    watch = asyncio_c.watch(loop, SOON, reports)
    run(loop, reports.blocked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del loop
        for _ in range(100):
            gc.collect()  # more than once: the thread holds the loop while it looks at it
            watch._thread.join(PATIENCE / 100)
            if not watch._thread.is_alive():
                break
    assert not watch._thread.is_alive()
    assert gone() is None


def test_a_loop_that_the_collector_finds_together_with_its_watch(ours):
    """Which of them is cleared first is the collector's choice."""

    class NotClosed(ours.Loop):
        def __del__(self):  # asyncio's would close it
            pass

    for watch_first in (True, False):
        loop = NotClosed()
        if watch_first:
            asyncio_c.watch(loop)
        loop.itself = loop
        if not watch_first:
            asyncio_c.watch(loop)
        gone = weakref.ref(loop)
        del loop
        gc.collect()
        assert gone() is None


def test_who_is_told_when_another_watch_is_closed_meanwhile(native):
    """As it may be by another thread while the interpreter runs the first one's functions."""
    pulses, heard = [], []

    def observe(number, what):
        heard.append((number, what))
        pulses[number].close()

    with closing(native.new_event_loop()) as loop:
        for what in ("wake", "tell"):
            for number in range(3):

                def wake(number=number, what=what):
                    if what == "wake":
                        observe(number, what)

                def tell(owner, entry, seconds, number=number, what=what):
                    observe(number, what)

                pulses.append(_core._Pulse(0.0, wake, tell))
                pulses[-1].open(loop)
            run(loop, time.monotonic)
            assert sorted(heard) == [(number, what) for number in range(3)]
            pulses.clear()
            heard.clear()


def test_one_that_is_opened_again_hears_of_what_begins_from_then_on(native):
    heard = []

    def tell(owner, entry, seconds):
        heard.append(entry)
        pulse.close()
        pulse.open(loop)

    pulse = _core._Pulse(0.0, lambda: None, tell)
    with closing(native.new_event_loop()) as loop:
        pulse.open(loop)
        run(loop, time.monotonic)
        run(loop, time.monotonic)
        assert len(heard) == len(set(heard)) == 2
        pulse.close()
        with pytest.raises(RuntimeError, match="open already"):
            pulse.open(loop) or pulse.open(loop)
        pulse.close()


def test_a_loop_that_runs_before_the_watch_is_made(loop, reports, monkeypatch):
    """From another thread, a loop that runs may wake the watch as soon as it knows of it."""

    class Prompt:
        def __init__(self, limit, wake, tell):
            self.pulse = _core._Pulse(limit, wake, tell)

        def __getattr__(self, name):
            return getattr(self.pulse, name)

        def open(self, loop):
            self.pulse.open(loop)
            run(loop, reports.blocked)

    monkeypatch.setattr(watchdog, "_core", types.SimpleNamespace(_Pulse=Prompt, Task=_core.Task))
    with asyncio_c.watch(loop, SOON, reports):
        reports.wait(ended=True)
    assert [report.ended for report in reports.of("blocked")] == [False, True]


def test_tasks_that_cannot_be_described(ours, watched, reports):
    loop, _ = watched

    class Nameless(ours.Task):
        def get_name(self):
            raise ZeroDivisionError

    async def main():
        reports.blocked()

    for _ in range(2):
        loop.run_until_complete(Nameless(main(), loop=loop))
        reports.wait(ended=True)
    # asyncio's own is a callback with a task.
    told = [report for report in reports.all if report.callback in ("Nameless", "Handle")]
    assert [(report.task, report.ended) for report in told] == [(None, False), (None, True)] * 2


def test_a_threshold_that_is_never_exceeded(loop, reports):
    with asyncio_c.watch(loop, float("inf"), reports) as watch:
        run(loop, lambda: None)
        assert watch._while_it_is_young(0) <= threading.TIMEOUT_MAX
        watch.close()
        watch._thread.join(PATIENCE)
    assert not watch._thread.is_alive() and reports.all == []


def test_what_is_refused(loop, reports):
    for threshold in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="positive number"):
            asyncio_c.watch(loop, threshold)
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio_c.watch()
    with closing(asyncio.SelectorEventLoop()) as stock, pytest.raises(TypeError, match="asyncio_c is needed"):
        asyncio_c.watch(stock)
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        asyncio_c.watch(loop)


def test_the_running_loop(loop, reports):
    async def main():
        with asyncio_c.watch(threshold=SOON, report=reports):
            loop.call_soon(reports.blocked)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await asyncio.get_running_loop().run_in_executor(None, reports.wait, True)

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    assert len(reports.of("blocked")) == 2


class Script:
    """A Pulse whose answers are written down, and a signal that notes for how long is waited."""

    def __init__(self, answers):
        self.answers = answers
        self.waits, self.parks = [], []
        self.closed = False

    def look(self, known, park):
        self.parks.append(park)
        answer = self.answers.pop(0)
        self.closed = not self.answers
        return answer

    def acquire(self, timeout):
        self.waits.append(timeout)


def test_how_long_the_thread_sleeps(loop):
    """It looks at most twice in the threshold, and waits without an end while nothing runs."""
    with asyncio_c.watch(loop, 0.1, lambda report: None) as watch:
        thread = threading.get_ident()
        young = [(n, seconds, thread, None) for n, seconds in enumerate((0.0, 0.02, 0.09, 0.0999), 1)]
        script = Script([None, None, *young, None, None, None])
        pulse, watch._pulse = watch._pulse, script
        watch._run(script)
        watch._pulse = pulse
    waits = iter(script.waits)
    assert next(waits) == pytest.approx(0.102)  # the turn that has started it may have ended
    assert next(waits) == -1
    assert [next(waits) for _ in young] == pytest.approx([0.102, 0.0816, 0.05, 0.05])
    assert list(waits) == pytest.approx([-1, 0.102, -1])
    # Not at once after it was woken.
    assert script.parks == [False, True, False, True, True, True, True, False, True]


def test_in_the_child_of_a_fork(watched, reports):
    loop, watch = watched
    run(loop, reports.blocked)
    reports.wait(ended=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there are threads
        child = os.fork()
    if child == 0:
        status = 1
        try:
            reports.all.clear()
            run(loop, reports.blocked)
            reports.wait(ended=True)
            status = 0 if len(reports.of("blocked")) == 2 else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    run(loop, reports.blocked)


BLOCKING = textwrap.dedent("""
    import asyncio, logging, threading
    import asyncio_c.autopatch  # which the .pth file does where asyncio_c is installed

    told = threading.Event()

    class Handler(logging.Handler):
        def emit(self, record):
            print(record.getMessage().splitlines()[0], flush=True)
            told.set()

    logging.getLogger("asyncio_c").addHandler(Handler())

    async def main():
        told.wait()

    asyncio.run(main())
""")


def start(*arguments, **variables):
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE
    )


@pytest.mark.parametrize(
    "how",
    [(("-m", "asyncio_c", "-c"), {}), (("-c",), {"ASYNCIO_C": "1"}), (("-c",), {"ASYNCIO_C": "loop"})],
    ids=["command", "patch", "loop"],
)
def test_the_variable(how):
    arguments, variables = how
    done = start(*arguments, BLOCKING, ASYNCIO_C_WATCH="0.002", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if "main()" in line]
    assert re.match(r"Task 'Task-1' \(.*main\(\) .*\) has blocked the event loop for ", lines[0])
    # At the end of the program what is left is reported.
    assert re.match(r"Task 'Task-1' \(.*main\(\) .*\) blocked the event loop for ", lines[1])
    assert len(lines) == 2


@pytest.mark.parametrize("value", ["", "0", "0.0"])
def test_the_variable_says_no(value):
    program = (
        "import asyncio_c, threading; asyncio_c.run(asyncio_c.sleep(0)); assert threading.active_count() == 1"
    )
    done = start("-c", program, ASYNCIO_C_WATCH=value)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("value", ["yes", "-1", "nan"])
def test_the_variable_is_wrong(value):
    done = start("-c", "import asyncio_c; asyncio_c.run(asyncio_c.sleep(0))", ASYNCIO_C_WATCH=value)
    assert done.returncode == 0
    assert f"RuntimeWarning: ASYNCIO_C_WATCH={value} is no number of seconds" in done.stderr


def test_a_thread_that_cannot_start(loop, reports, monkeypatch, caplog):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    with asyncio_c.watch(loop, SOON, reports) as watch:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        run(loop, lambda: None)
        assert watch._pulse.closed
    assert "The event loop cannot be watched: can't start new thread" in caplog.text
    assert watchdog.VARIABLE == "ASYNCIO_C_WATCH"
