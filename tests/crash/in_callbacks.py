"""Callbacks, handles, futures and the loop's own methods, called from where nobody would."""

import asyncio
import ctypes
import gc
import logging
import os
import threading
import weakref

from .table import Recorder, attempt, case, cases, new_loop, pair, turns


@case
def callback_closes_the_loop(impl):
    with new_loop(impl) as loop:
        loop.call_soon(loop.close)
        turns(loop)
        assert [type(report["exception"]) for report in loop.reports] == [RuntimeError]


@case
def callback_closes_the_loop_after_stopping(impl):
    with new_loop(impl) as loop:
        loop.call_soon(lambda: (loop.stop(), attempt(loop.close)))
        loop.run_forever()
        loop.close()
        assert isinstance(attempt(loop.call_soon, int), RuntimeError)


@case
def callback_cancels_itself(impl):
    with new_loop(impl) as loop:
        handles = []

        def callback():
            handles.pop().cancel()
            gc.collect()

        for schedule in (loop.call_soon, lambda f: loop.call_later(0, f), lambda f: loop.call_at(0, f)):
            handles.append(schedule(callback))
            while handles:
                turns(loop, 1)


@case
def callback_cancels_itself_by_a_weak_reference(impl):
    class Key:
        def __hash__(self):
            ref().cancel()
            return 1

    with new_loop(impl) as loop:
        for schedule in (loop.call_soon, lambda f, *args: loop.call_later(0, f, *args)):
            done = {}

            async def main(schedule=schedule, done=done):
                nonlocal ref
                ref = weakref.ref(schedule(done.setdefault, Key(), 1))
                while ref() is not None:
                    await asyncio.sleep(0)

            ref = None
            loop.run_until_complete(main())
            others = [Key() for _ in range(10)]  # in the memory of a key that has died meanwhile
            assert not any(key is other for key in done for other in others)


@case(stock="Python 3.13.0 forgets that it runs after it has refused to run again")
def callback_runs_the_loop(impl):
    with new_loop(impl) as loop:
        coro = asyncio.sleep(0)
        loop.call_soon(loop.run_forever)
        loop.call_soon(loop.run_until_complete, coro)
        turns(loop)
        coro.close()
        assert [type(report["exception"]) for report in loop.reports] == [RuntimeError, RuntimeError]


@case
def callback_empties_everything_it_can_reach(impl):
    loop = impl.new_event_loop()

    def callback():
        for name in list(vars(loop)):
            attempt(delattr, loop, name)
        gc.collect()

    loop.call_soon(callback)
    loop.call_soon(loop.stop)
    attempt(loop.run_forever)
    attempt(loop.close)


class Raises:
    """Raises from each special method that a loop could run into."""

    def __del__(self):
        raise ZeroDivisionError

    def __eq__(self, other):
        raise ZeroDivisionError

    __hash__ = __bool__ = __repr__ = __call__ = __lt__ = __index__ = __float__ = __eq__


@case
def arguments_raise_at_their_end(impl):
    with new_loop(impl) as loop:
        for _ in range(100):
            loop.call_soon(lambda *args: None, Raises())
            loop.call_later(3600, lambda *args: None, Raises()).cancel()
        turns(loop)
        loop.call_soon(int, Raises())
        loop.call_later(3600, int, Raises())


@case(stock="reports by way of the callable's own methods, which raise")
def callable_raises_in_everything(impl):
    with new_loop(impl) as loop:
        for schedule in (loop.call_soon, loop.call_soon_threadsafe):
            attempt(schedule, Raises())
        attempt(loop.call_later, 0, Raises())
        attempt(loop.call_later, Raises(), int)
        attempt(loop.call_at, Raises(), int)
        attempt(turns, loop, 20)
        attempt(loop.set_debug, Raises())
        attempt(turns, loop, 20)


@case
def cancelled_handles_of_dead_loops(impl):
    handles = []
    for _ in range(100):
        with new_loop(impl) as loop:
            handles += [loop.call_soon(int), loop.call_later(1, int), loop.call_at(loop.time() - 1, int)]
    del loop
    gc.collect()
    for handle in handles:
        repr(handle)
        handle.cancel()
        attempt(handle._run)


@case
def handle_runs_itself(impl):
    with new_loop(impl) as loop:
        depth = 0

        def callback():
            nonlocal depth
            depth += 1
            if depth < 100:
                attempt(handle._run)
            handle.cancel()

        handle = loop.call_soon(callback)
        turns(loop)
        attempt(handle._run)
        assert depth >= 1


# ---- Futures ----


@case
def future_completed_while_its_callbacks_run(impl):
    with new_loop(impl) as loop:
        future = loop.create_future()
        for _ in range(5):
            future.add_done_callback(lambda f: attempt(f.set_result, 2))
            future.add_done_callback(lambda f: f.add_done_callback(lambda f: f.cancel()))
        future.set_result(1)
        turns(loop)
        assert future.result() == 1


class Equal:
    """A callback whose comparison does something."""

    def __init__(self, action):
        self.action = action

    def __call__(self, future):
        pass

    def __eq__(self, other):
        action, self.action = self.action, None
        return bool(action and action())

    __hash__ = None


ACTIONS = {
    "raises": lambda future: 1 / 0,
    "completes": lambda future: future.set_result(None),
    "cancels": lambda future: future.cancel(),
    "adds": lambda future: [future.add_done_callback(print) for _ in range(50)] and False,
    "removes": lambda future: future.remove_done_callback(int),
    "reinitializes": lambda future: attempt(future.__init__, loop=future.get_loop()) and False,
    "collects": lambda future: gc.collect() < 0,
}


@cases("future_comparison", ACTIONS)
def future_comparison(impl, action):
    with new_loop(impl) as loop:
        future = impl.Future(loop=loop)
        for _ in range(5):
            future.add_done_callback(int)
            future.add_done_callback(Equal(lambda: action(future)))
        attempt(future.remove_done_callback, Equal(lambda: action(future)))
        attempt(future.remove_done_callback, object())
        attempt(future.cancel)
        turns(loop)


@case
def done_callback_raises(impl):
    with new_loop(impl) as loop:
        future = loop.create_future()
        for _ in range(10):
            future.add_done_callback(lambda f: 1 / 0)
        future.set_result(None)
        turns(loop)
        assert len(loop.reports) == 10


@cases("leaves_the_loop", {"exit": SystemExit, "interrupt": KeyboardInterrupt})
def leaves_the_loop(impl, error):
    def leave(*args):
        raise error

    async def child():
        leave()

    with new_loop(impl) as loop:
        for _ in range(3):
            future = loop.create_future()
            future.add_done_callback(leave)
            future.set_result(None)
            loop.call_soon(leave)
            loop.call_later(0, leave)
            loop.create_task(child())
        caught = 0
        for _ in range(40):
            try:
                turns(loop, 1)
            except error:
                caught += 1
        assert caught >= 9
        loop.set_exception_handler(lambda loop, context: None)
    gc.collect()


@case
def future_that_is_its_own_everything(impl):
    with new_loop(impl) as loop:
        future = impl.Future(loop=loop)
        future.add_done_callback(future.add_done_callback)
        future.me = future
        future.set_result(future)
        repr(future)
        turns(loop, 3)
        failed = impl.Future(loop=loop)
        error = ValueError()
        error.__cause__ = error
        error.future = failed
        failed.set_exception(error)
        del failed, error, future
        gc.collect()


@case(stock="a debug build of 3.11 asserts that its iterator has set an exception")
def future_iterator_is_abused(impl):
    with new_loop(impl) as loop:
        future = loop.create_future()
        iterator = iter(future)
        next(iterator)
        for _ in range(3):
            attempt(next, iterator)
            attempt(iterator.send, 1)
            attempt(iterator.throw, ZeroDivisionError)
            attempt(iterator.throw, ZeroDivisionError())
            attempt(iterator.throw, 5)
            attempt(iterator.close)
        future.set_result(1)
        attempt(next, iterator)
        second = iter(future)
        weak = weakref.ref(future)
        del future, iterator
        attempt(next, second)
        del second
        gc.collect()
        assert weak() is None


# ---- Exception handlers ----


def handler_raises(loop, context):
    raise ZeroDivisionError


def handler_exits(loop, context):
    raise SystemExit


def handler_stops(loop, context):
    loop.stop()


def handler_closes(loop, context):
    loop.close()


def handler_unsets(loop, context):
    loop.set_exception_handler(None)
    gc.collect()


def handler_recurses(loop, context):
    loop.call_exception_handler(context)


def handler_clears(loop, context):
    context.clear()
    gc.collect()


HANDLERS = {
    function.__name__.removeprefix("handler_"): function
    for function in (
        handler_raises,
        handler_stops,
        handler_exits,
        handler_closes,
        handler_unsets,
        handler_recurses,
        handler_clears,
    )
}


@cases("exception_handler", HANDLERS)
def exception_handler(impl, handler):
    logging.disable()
    with new_loop(impl) as loop:

        async def child():
            raise ValueError

        loop.set_exception_handler(handler)
        for _ in range(3):
            loop.call_soon(lambda: 1 / 0)
            loop.call_later(0, lambda: 1 / 0)
            loop.create_task(child())
        for _ in range(20):
            try:
                turns(loop, 1)
                gc.collect()
            except SystemExit:
                pass


@case
def logger_raises(impl):
    class Handler(logging.Handler):
        def emit(self, record):
            raise ZeroDivisionError

    logging.getLogger("asyncio").addHandler(Handler())
    with new_loop(impl) as loop:
        loop.set_exception_handler(None)
        for _ in range(5):
            loop.call_soon(lambda: 1 / 0)
        assert isinstance(attempt(turns, loop), ZeroDivisionError)


@case
def repr_raises_in_a_report(impl):
    logging.disable()
    with new_loop(impl) as loop:
        loop.set_exception_handler(None)
        loop.set_debug(True)
        loop.call_soon(lambda *args: 1 / 0, Raises())
        future = loop.create_future()
        attempt(future.set_result, Raises())
        attempt(repr, future)
        turns(loop)


@case
def loop_is_made_anew_after_close(impl):
    """__init__() of a closed loop says that it is open; whatever becomes of that."""
    loop = impl.new_event_loop()
    loop.close()
    attempt(loop.__init__)
    attempt(loop.call_soon, loop.stop)
    attempt(loop.run_forever)
    attempt(loop.call_later, 0, loop.stop)
    attempt(loop.run_forever)
    loop.close()


@case
def core_of_the_loop_is_closed_by_a_callback(impl):
    with new_loop(impl) as loop:
        loop.call_soon(lambda: attempt(getattr(loop, "_close", loop.stop)))
        loop.call_soon(loop.stop)
        attempt(loop.run_forever)


@case
def destructor_closes_the_loop_that_is_closed(impl):
    """What a reader's end closes a second time is not closed twice: the numbers may be another's by now."""
    opened = []

    class Owner:
        def __init__(self, loop):
            self.loop = loop

        def __call__(self):
            pass

        def __del__(self):
            self.loop.close()
            opened.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(5))

    reading, writing = os.pipe()
    loop = impl.new_event_loop()
    loop.add_reader(reading, Owner(loop))
    loop.add_writer(writing, Owner(loop))
    loop.close()
    gc.collect()
    del loop
    gc.collect()
    assert len(opened) == 10
    for fd in (reading, writing, *opened):
        os.close(fd)


@case
def destructor_opens_the_loop_that_is_closed(impl):
    class Opener:
        def __init__(self, loop):
            self.loop = loop

        def __call__(self):
            pass

        def __del__(self):
            attempt(setattr, self.loop, "_closed", False)
            attempt(self.loop.call_soon, int)
            attempt(self.loop.add_reader, writing, int)

    reading, writing = os.pipe()
    loop = impl.new_event_loop()
    loop.add_reader(reading, Opener(loop))
    loop.call_soon(Opener(loop))
    loop.call_later(1, Opener(loop))
    attempt(loop.close)
    gc.collect()
    attempt(loop.call_soon, loop.stop)
    attempt(loop.run_forever)
    attempt(loop.close)


@case
def exceptions_are_set_in_the_thread_everywhere(impl):
    """PyThreadState_SetAsyncExc() in each kind of callback: it strikes there, or later, and the loop lives on."""

    class Struck(Exception):
        pass

    def strike(*args):
        thread_id = ctypes.c_ulong(threading.get_ident())
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread_id, ctypes.py_object(Struck))

    class Protocol(Recorder):
        def data_received(self, data):
            strike()

        def connection_lost(self, exc):
            strike()

    async def step(seconds):
        await impl.sleep(seconds)
        strike()
        await impl.sleep(0)

    async def good():
        for seconds in 0, 0.001, 0:
            await impl.sleep(seconds)
        return "good"

    with new_loop(impl) as loop:
        tasks = [loop.create_task(step(seconds)) for seconds in (0, 0.001)]
        tasks[0].add_done_callback(strike)
        loop.call_soon(strike)
        loop.call_later(0.0005, strike)
        ours, theirs = pair()
        with ours, theirs:
            attempt(loop.run_until_complete, loop.create_connection(Protocol, sock=ours))
            theirs.send(b"x")
            theirs.close()
            for _ in range(20):
                attempt(turns, loop)
        for task in tasks:
            attempt(loop.run_until_complete, task)
        assert loop.run_until_complete(good()) == "good"
