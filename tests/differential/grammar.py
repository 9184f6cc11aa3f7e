"""The random programs: hypothesis strategies for everything in program.py.

Programs end: a callback schedules only callbacks with a higher number, a coroutine starts only coroutines with a higher
number, and what a callback starts is a leaf. Statements are drawn from lists that are written out when this module is
imported, simple ones first, so one statement is one draw, and shrinking goes to the beginning of the list.

Left out is what asyncio itself leaves to chance: the order of a set of futures, hence as_completed() of several. Left
out as well is run_forever() of a running loop on Python 3.13, whose asyncio forgets after the error that the loop runs, and
get_coro() on Python 3.12, which crashes early releases if the task was finished by its eager first step.
"""

from __future__ import annotations

import functools
import sys

from hypothesis import strategies as st

from .program import Block, Body, Options, Program, Statement

PY312 = sys.version_info >= (3, 12)
PY313 = sys.version_info >= (3, 13)
PY314 = sys.version_info >= (3, 14)
PY315 = sys.version_info >= (3, 15)

CALLBACKS = 3
COROUTINES = 3
TASKS = [f"t{n}" for n in range(COROUTINES)]
FUTURES = ["f0", "f1", "f2"]
HANDLES = ["h0", "h1"]
WAITABLE = FUTURES + TASKS
DELAYS = ["0", "1", "2", "3", "0.5", "-1"]
ERRORS = [
    "Boom(1)",
    "Boom(2)",
    "asyncio.CancelledError()",
    "asyncio.CancelledError('by hand')",
    "TimeoutError()",
    "StopIteration(1)",
    "asyncio.InvalidStateError()",
    "Boom",
    "BaseBoom(3)",
    "KeyboardInterrupt()",
    "SystemExit(4)",
]


def attempts(*expressions: str) -> list[str]:
    """Return statements that log what an expression gives or raises, and go on."""
    return [f'log("{text}", attempt(lambda: {text}))' for text in expressions]


def each(template: str, *choices: list[str]) -> list[str]:
    """Return the template filled with each combination of choices."""
    texts = [template]
    for choice in choices:
        texts = [text.replace("?", value, 1) for text in texts for value in choice]
    return texts


# ---- what callbacks and coroutines do alike ----

FUTURE_CALLS = attempts(
    *each("?.set_result(1)", FUTURES),
    *each("?.cancel()", FUTURES),
    *each("?.set_exception(Boom(5))", FUTURES),
    *each("?.cancel('f')", FUTURES),
    *each("?.result()", WAITABLE),
    *each("?.exception()", WAITABLE),
    *each("?.set_exception(?)", ["f0"], ERRORS),
    *each("?.remove_done_callback(b?)", WAITABLE, ["0", "1"]),
    *each("len(?._callbacks or ())", WAITABLE),
    *each("?._asyncio_future_blocking", ["f0", "t0"]),
)
TASK_CALLS = attempts(
    *each("?.cancel()", TASKS),
    *each("?.cancel('t')", TASKS),
    "main_task.cancel()",
    *each("?.uncancel()", TASKS),
    *each("?.cancelling()", TASKS),
    *each("?.get_name()", TASKS),
    *each("?._must_cancel", TASKS),
    *each("?._fut_waiter", TASKS),
    "t0.set_name(new_name())",
    *each("?.get_stack()", ["t1"]),
    *(each("?.get_coro() is None", TASKS) if sys.version_info[:2] != (3, 12) else []),
    "t0.set_result(1)",
    "asyncio.current_task()",
    "len(asyncio.all_tasks(loop))",
)
NEW_FUTURES = [
    *each("? = loop.create_future()", FUTURES),
    *each("? = asyncio.Future(loop=loop)", FUTURES),
    *each("? = StockFuture(loop=loop)", FUTURES),
    *each("? = PythonFuture(loop=loop)", FUTURES),
]
MISCELLANY = [
    *each("var.set(?)", ["1", "2"]),
    *each("log(?)", WAITABLE + HANDLES),
    "advance(1)",
    "collect()",
    *attempts(
        *each("?.cancel()", HANDLES),
        *each("?.cancelled()", HANDLES),
        *each("?.when()", HANDLES),
        "loop.is_running()",
        "loop.time()",
        "lock.release()",
        "event.set()",
        "event.clear()",
        "semaphore.release()",
        "queue.put_nowait(1)",
        "queue.get_nowait()",
        "queue.task_done()",
        "queue.qsize()",
        *(["queue.shutdown()", "queue.shutdown(immediate=True)"] if PY313 else []),
        "loop.stop()",
        *(["loop.run_forever()", "loop.run_until_complete(f0)"] if sys.version_info[:2] != (3, 13) else []),
    ),
]


@functools.cache
def schedules(rank: int) -> list[str]:
    """Return the statements that schedule a callback numbered `rank` or higher."""
    callbacks = [f"b{n}" for n in range(rank, CALLBACKS)]
    return [
        *each("? = loop.call_soon(?)", HANDLES, callbacks),
        *each("? = loop.call_later(?, ?, 7)", HANDLES, DELAYS, callbacks),
        *each("? = loop.call_at(loop.time() + ?, ?)", HANDLES, DELAYS, callbacks),
        *each("loop.call_soon_threadsafe(?, 8)", callbacks),
        *each("loop.call_soon(?, context=shared_context)", callbacks),
        *each("?.add_done_callback(?)", WAITABLE, callbacks),
        *each("?.add_done_callback(?, context=shared_context)", ["f0", "t0"], callbacks),
    ]


def starts(coroutine: str) -> list[str]:
    """Return the statements that start a coroutine as a task."""
    return [
        *each(f"? = asyncio.create_task({coroutine})", TASKS),
        *each(f"? = loop.create_task({coroutine}, name=new_name())", TASKS),
        *each(f"? = asyncio.create_task({coroutine}, context=shared_context)", TASKS),
        *each(f"? = asyncio.ensure_future({coroutine})", FUTURES),
        *each(f"? = asyncio.Task({coroutine}, loop=loop, name=new_name())", TASKS),
        *each(f"? = StockTask({coroutine}, loop=loop, name=new_name())", TASKS),
        *(
            each(f"? = asyncio.Task({coroutine}, loop=loop, name=new_name(), eager_start=True)", TASKS)
            if PY312
            else []
        ),
        *(each(f"? = asyncio.create_task({coroutine}, eager_start=True)", TASKS) if PY314 else []),
        *each(f"? = asyncio.shield({coroutine})", FUTURES),
        *each(f"? = asyncio.gather({coroutine}, ?)", FUTURES, WAITABLE),
    ]


RAISES = [
    *each("raise ?", ERRORS),
    "raise Boom(1) from Boom(2)",
    "raise Boom(6) from None",
]

_FROM_OUTSIDE = [
    *each("?.cancel()", TASKS + ["main_task"]),
    *each("?.set_result(1)", FUTURES),
    *each("?.set_exception(?)", FUTURES, ERRORS[:4]),
    *each("?.cancel('outside')", FUTURES + TASKS),
    "event.set()",
    "queue.put_nowait(5)",
    "queue.get_nowait()",
    "loop.stop()",
    "interrupt()",
    "StockTask(leaf(6), loop=loop, name=new_name())",
]
DISTURBANCES = [
    *each("in_turns(?, lambda: ?)", list("123456789"), _FROM_OUTSIDE),
    *each("later(?, lambda: ?)", list("123"), _FROM_OUTSIDE),
]

SYNCHRONOUS = [FUTURE_CALLS, TASK_CALLS, NEW_FUTURES, MISCELLANY]


@functools.cache
def callback_statement(number: int) -> st.SearchStrategy[Statement]:
    # Not from within tasks: from 3.14 on, a thread with a current task cannot run another.
    nested = attempts("run_nested(0)", "run_nested(2)")
    lists = [*SYNCHRONOUS, FUTURE_CALLS, nested, starts("leaf(9)"), RAISES]
    if number + 1 < CALLBACKS:
        lists += [schedules(number + 1)] * 2
    return st.one_of(*map(st.sampled_from, lists))


# ---- coroutines ----


@functools.cache
def coroutines_above(rank: int) -> list[str]:
    return ["leaf(1)", "leaf(2)", *(f"c{n}()" for n in range(rank + 1, COROUTINES))]


@functools.cache
def atoms(rank: int) -> list[str]:
    """Return simple awaitable expressions."""
    return [
        "asyncio.sleep(0)",
        *WAITABLE,
        *each("asyncio.sleep(?, 3)", DELAYS),
        *coroutines_above(rank),
        "event.wait()",
        "queue.get()",
        "queue.put(2)",
        "queue.join()",
        "lock.acquire()",
        "semaphore.acquire()",
        "condition_wait()",
        "barrier.wait()",
        "Awaitable(f0)",
        "bare_yield()",
        "yield_none_from(t0)",
        "main_task",
    ]


@functools.cache
def awaitable(rank: int, depth: int = 2) -> st.SearchStrategy[str]:
    simple = st.sampled_from(atoms(rank))
    if depth == 0:
        return simple
    inner = st.one_of(simple, awaitable(rank, depth - 1))
    several = st.lists(inner, max_size=3).map(", ".join)
    waited = st.lists(st.one_of(st.sampled_from(WAITABLE), st.sampled_from(tasks_of(rank))), max_size=3)
    timeout = st.sampled_from(["None", *DELAYS])
    when = st.sampled_from(["ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"])
    return st.one_of(
        simple,
        several.map("asyncio.gather({})".format),
        several.map(lambda text: f"asyncio.gather({text}{', ' if text else ''}return_exceptions=True)"),
        inner.map("asyncio.shield({})".format),
        st.builds("asyncio.wait_for({}, {})".format, inner, timeout),
        st.builds(
            lambda futures, timeout, when: (
                f"asyncio.wait([{', '.join(futures)}], timeout={timeout}, return_when=asyncio.{when})"
            ),
            waited,
            timeout,
            when,
        ),
    )


@functools.cache
def tasks_of(rank: int) -> list[str]:
    return [f"asyncio.create_task({coroutine})" for coroutine in coroutines_above(rank)]


CATCHES = [
    "except Exception as error:",
    "except asyncio.CancelledError as error:",
    "except BaseException as error:",
    "except (Boom, TimeoutError) as error:",
]


def awaiting(expression: str) -> Statement:
    return f'log("awaited", await {expression})'


def guarded(expression: str, catch: str, after: Body) -> Statement:
    """Return an await whose exception is logged, followed by what handles it."""
    return Block(
        (("try:", (awaiting(expression),)), (catch, ('log("raised", error)', *after))),
    )


@functools.cache
def coroutine_statement(rank: int, depth: int = 2) -> st.SearchStrategy[Statement]:
    """Return the strategy of a statement in the coroutine `rank`; main is -1."""
    simple = [*SYNCHRONOUS, schedules(0), RAISES, [f"return {n}" for n in range(2)]]
    simple += [starts(coroutine) for coroutine in coroutines_above(rank)]
    awaits = awaitable(rank)
    choices: list[st.SearchStrategy[Statement]] = [
        awaits.map(awaiting),
        st.builds(guarded, awaits, st.sampled_from(CATCHES), st.just(())),
        st.one_of(*map(st.sampled_from, simple)),
        st.builds(guarded, awaits, st.sampled_from(CATCHES), st.sampled_from(HANDLING)),
        st.one_of(*map(st.sampled_from, simple)),
    ]
    if depth:
        below = st.lists(coroutine_statement(rank, depth - 1), max_size=3).map(tuple)
        choices.append(st.one_of(compounds(rank, below)))
    return st.one_of(*choices)


HANDLING: list[Body] = [
    ("raise",),
    ("raise Boom(7)",),
    ("raise Boom(8) from error",),
    ("return 4",),
    ("await asyncio.sleep(0)",),
    ("await asyncio.sleep(1)",),
    ('log("uncancel", asyncio.current_task().uncancel())',),
    ('log("cancelling", asyncio.current_task().cancelling())', "raise"),
]


def compounds(rank: int, below: st.SearchStrategy[Body]) -> list[st.SearchStrategy[Statement]]:
    """Return the strategies of compound statements around bodies `below`."""
    delay = st.sampled_from(["None", *DELAYS])
    child = st.sampled_from(coroutines_above(rank))
    children = st.lists(child, max_size=3)
    step = st.sampled_from(atoms(rank))
    return [
        st.builds(
            lambda body, catch, handler: Block(
                (("try:", body), (catch, ('log("caught", error)', *handler))),
            ),
            below,
            st.sampled_from(CATCHES),
            below,
        ),
        st.builds(
            lambda body, cleaning: Block((("try:", body), ("finally:", ('log("finally")', *cleaning)))),
            below,
            below,
        ),
        st.builds(
            lambda delay, body, reschedule: Block(
                (
                    (
                        f"async with asyncio.timeout({delay}) as scope:",
                        (*body, *(['log("rescheduled", scope.reschedule(loop.time() + 1))'] * reschedule)),
                    ),
                )
            ),
            delay,
            below,
            st.booleans(),
        ),
        st.builds(
            lambda children, body, cancels: Block(
                (
                    (
                        "async with TaskGroup() as group:",
                        (
                            *(f"group.create_task({child})" for child in children),
                            *body,
                            *(['log("cancelled", group.cancel())'] * cancels),
                        ),
                    ),
                )
            ),
            children,
            below,
            st.booleans() if PY315 else st.just(False),
        ),
        st.builds(
            lambda manager, body: Block(((f"async with {manager}:", body),)),
            st.sampled_from(["lock", "semaphore", "condition", "Managed()"]),
            below,
        ),
        st.builds(
            lambda count, body: Block(((f"for _ in range({count}):", body),)), st.integers(1, 2), below
        ),
        st.builds(
            lambda first, body: Block(
                ((f"async for item in generator({first}):", ('log("item", item)', *body)),)
            ),
            step.map(lambda text: f"lambda: {text}"),
            below,
        ),
        st.builds(
            lambda futures, timeout, body: Block(
                (
                    (
                        f"for future in asyncio.as_completed([{', '.join(futures)}], timeout={timeout}):",
                        ('log("completed", await future)', *body),
                    ),
                )
            ),
            st.lists(st.sampled_from(WAITABLE), max_size=1),
            delay,
            below,
        ),
    ]


FACTORIES = ["none", "subclass", *(["eager"] if PY312 else []), *([] if PY314 else ["python"])]

options = st.builds(
    Options,
    ticking=st.booleans(),
    slow=st.sampled_from([False, False, True]),
    debug=st.sampled_from([False, False, False, True]),
    handler=st.booleans(),
    factory=st.sampled_from(["none", "none", "none", *FACTORIES]),
)


def _body(statement: st.SearchStrategy[Statement], least: int, most: int) -> st.SearchStrategy[Body]:
    return st.lists(statement, min_size=least, max_size=most).map(tuple)


programs = st.builds(
    Program,
    options=options,
    disturbances=st.lists(st.sampled_from(DISTURBANCES), max_size=5).map(tuple),
    callbacks=st.tuples(*(_body(callback_statement(n), 0, 3) for n in range(CALLBACKS))),
    coroutines=st.tuples(*(_body(coroutine_statement(n), 1, 5) for n in range(COROUTINES))),
    main=_body(coroutine_statement(-1), 2, 8),
)
