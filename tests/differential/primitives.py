"""Random programs around locks, events, conditions, semaphores, barriers, queues and streams: five tasks that meet in few.

What may go wrong there is who is woken, in which turn, and what is left behind by a cancellation while it waits, after it
was woken and before it runs, or in the same turn as the release. So most statements are of these, several in one line are
common, and much is cancelled.
"""

from __future__ import annotations

import functools
import sys

from hypothesis import strategies as st

from .grammar import CATCHES, ERRORS, HANDLING, PY313, attempts, awaiting, each, guarded
from .program import Block, Body, Options, Program, Statement

COROUTINES = 5
TASKS = [f"t{n}" for n in range(COROUTINES)]
CONDITIONS = ["condition", "shared", "own_condition"]
BARRIERS = ["barrier", "three", "own_barrier"]
LOCKS = ["lock", "semaphore", "bounded", "own_lock", *CONDITIONS]
QUEUES = ["queue", "priority", "lifo", "endless", "own_queue"]
DATA = [r"b'a'", r"b'ab\n'", r"b'b\nccc'", r"b'xxxxxxxxx'", r"b'aba'", r"b'\n'", "b''", "bytearray(b'ab')"]
ITEMS = ["1", "2", "(3, 1)"]  # the last cannot be compared with the others, for which a heap asks

# name: what is awaited and what is called of one primitive; a program keeps to few of them, so that its tasks meet.
AWAITED: dict[str, list[str]] = {
    **{name: [f"{name}.acquire()"] * 3 for name in LOCKS if name not in CONDITIONS},
    "event": ["event.wait()"],
    **{
        name: [
            f"{name}.wait()",
            f"condition_wait({name})",
            f"{name}.acquire()",
            f"{name}.wait_for(lambda: event.is_set())",
            f"condition_wait_for({name})",
            f"condition_wait_for({name}, lambda: 1 / 0 if event.is_set() else [])",
        ]
        for name in CONDITIONS
    },
    **{name: [f"{name}.wait()"] * 4 + [f"{name}.reset()", f"{name}.abort()"] for name in BARRIERS},
    **{name: [f"{name}.get()"] * 3 + each(f"{name}.put(?)", ITEMS) + [f"{name}.join()"] for name in QUEUES},
    "reader": [
        "reader.readline()",
        "anext(reader)",
        *each("reader.read(?)", ["1", "3", "100", "0", "", "-1", "n=2", "None"]),
        *each("reader.readexactly(?)", ["1", "4", "9", "0", "-1"]),
        *each("reader.readuntil(?)", [r"b'\n'", "b'ab'", "separator=b'aba'", "b''", "bytearray(b'a')"]),
        *(each("reader.readuntil((?, ?))", ["b'a'", "b'ab'", "b'ccc'"], ["b'b'", "b'aba'"]) if PY313 else []),
    ],
    "writer": ["writer.drain()"] * 4 + ["writer.wait_closed()"],
}
CALLED: dict[str, list[str]] = {
    **{name: [f"{name}.release()"] * 3 + [f"{name}.locked()"] for name in LOCKS},
    "event": ["event.set()", "event.clear()", "event.is_set()", "(event.set(), event.clear())"],
    **{name: [f"{name}.n_waiting", f"{name}.broken", f"{name}.parties"] for name in BARRIERS},
    **{
        name: [
            *each(f"{name}.put_nowait(?)", ITEMS),
            *[f"{name}.get_nowait()"] * 3,
            f"{name}.task_done()",
            f"{name}.qsize()",
            f"{name}.empty()",
            f"{name}.full()",
            f"({name}.put_nowait(1), {name}.get_nowait())",
            *([f"{name}.shutdown()", f"{name}.shutdown(immediate=True)"] if PY313 else []),
        ]
        for name in QUEUES
    },
}
for name in CONDITIONS:
    CALLED[name] += [f"{name}.notify()", f"{name}.notify(2)", f"{name}.notify_all()", "event.set()"]
CALLED["reader"] = [
    *each("reader.feed_data(?)", DATA),
    *each("protocol.data_received(?)", DATA[:4]),
    *each("(reader.feed_data(?), reader.feed_eof())", DATA[:4]),
    "reader.feed_eof()",
    "reader.set_exception(Boom(7))",
    "reader.set_exception(asyncio.IncompleteReadError(b'part', 9))",
    "reader.at_eof()",
    "reader.exception()",
    "reader._buffer.clear()",
    "reader._buffer.extend(b'ab')",
    "protocol.connection_lost(None)",
    "protocol.connection_lost(Boom(8))",
]
CALLED["writer"] = [
    "protocol.pause_writing()",
    "protocol.resume_writing()",
    "protocol.connection_lost(None)",
    "protocol.connection_lost(Boom(8))",
    "reader.set_exception(Boom(9))",
    "writer.write(b'ab')",
    "writer.writelines([b'a', b'b'])",
    "writer.write(1, 2)",
    "writer.close()",
    "writer.is_closing()",
]
CALLED["semaphore"] += ["(semaphore.release(), semaphore.release())"]
LOOKED_AT: dict[str, list[str]] = {
    **{name: [name, f"{name}._waiters", f"{name}._loop is None"] for name in ["event", *LOCKS]},
    **{
        name: [name, f"{name}._getters", f"{name}._putters", f"{name}._queue", f"{name}._unfinished_tasks"]
        + [f"{name}._finished", f"str({name})"]
        for name in QUEUES
    },
    **{name: [name, f"{name}._cond", f"{name}._count", f"{name}._state"] for name in BARRIERS},
}
LOOKED_AT["reader"] = [
    f"reader.{name}" for name in ("_waiter", "_eof", "_paused", "_exception", "_limit")
] + [
    "len(reader._buffer)",
    "str(reader).replace(str(reader._transport), '')",
]
LOOKED_AT["writer"] = [
    "protocol._paused",
    "protocol._connection_lost",
    "writer._complete_fut",
    "len(protocol._drain_waiters)",
]
LOOKED_AT["lock"] += ["lock._locked"]
LOOKED_AT["event"] += ["event._value"]
LOOKED_AT["semaphore"] += ["semaphore._value"]
LOOKED_AT["bounded"] += ["bounded._value", "bounded._bound_value"]
for name in CONDITIONS:
    LOOKED_AT[name] += [f"{name}._lock"]
NAMES = list(AWAITED)
CANCELLATIONS = [*each("?.cancel()", TASKS), *each("?.cancel('t')", TASKS)]


def together(call: str, other: str, first: bool) -> str:
    """Return an expression of two calls in the same turn."""
    return f"({other}, {call})" if first else f"({call}, {other})"


@functools.cache
def calls(names: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Return the strategy of expressions that wait for nothing."""
    own = st.sampled_from([call for name in names for call in CALLED[name]])
    cancellation = st.sampled_from(CANCELLATIONS)
    return st.one_of(own, own, cancellation, st.builds(together, own, cancellation, st.booleans()))


def attempted(text: str) -> str:
    return attempts(text)[0]


@functools.cache
def awaitable(names: tuple[str, ...]) -> st.SearchStrategy[str]:
    own = st.sampled_from([expression for name in names for expression in AWAITED[name]])
    limited = st.builds("asyncio.wait_for({}, {})".format, own, st.sampled_from(["0", "1", "2", "None"]))
    return st.one_of(
        own,
        own,
        own,
        st.sampled_from(["asyncio.sleep(0)", "asyncio.sleep(0)", "asyncio.sleep(1)", *TASKS]),
        limited,
        st.builds("asyncio.shield({})".format, own),
        st.builds("asyncio.gather({}, {})".format, own, own),
    )


@functools.cache
def statement(names: tuple[str, ...], depth: int = 2) -> st.SearchStrategy[Statement]:
    awaits = awaitable(names)
    looks = st.sampled_from([f'log("{text}", {text})' for name in names for text in LOOKED_AT[name]])
    choices: list[st.SearchStrategy[Statement]] = [
        awaits.map(awaiting),
        calls(names).map(attempted),
        st.builds(guarded, awaits, st.sampled_from(CATCHES), st.just(())),
        st.builds(guarded, awaits, st.sampled_from(CATCHES), st.sampled_from(HANDLING)),
        looks,
        st.sampled_from([f"raise {error}" for error in ERRORS[:3]]),
    ]
    if depth:
        below = st.lists(statement(names, depth - 1), max_size=3).map(tuple)
        managers = [name for name in names if name in LOCKS + BARRIERS]
        if managers:
            entered = st.builds(
                lambda manager, body: Block(
                    ((f"async with {manager} as entered:", ('log("entered", entered)', *body)),)
                ),
                st.sampled_from(managers),
                below,
            )
            choices += [entered, entered]
        choices.append(
            st.builds(
                lambda count, body: Block(((f"for _ in range({count}):", body),)), st.integers(2, 3), below
            )
        )
        choices.append(
            st.builds(
                lambda delay, body: Block(((f"async with asyncio.timeout({delay}):", body),)),
                st.sampled_from(["0", "1", "2"]),
                below,
            )
        )
    return st.one_of(*choices)


def disturbances(names: tuple[str, ...]) -> st.SearchStrategy[Body]:
    one = st.builds(
        "in_turns({}, lambda: {})".format,
        st.integers(1, 12),
        st.one_of(calls(names), st.just("collect() and 0")),
    )
    return st.lists(one, max_size=8).map(tuple)


options = st.builds(
    Options,
    ticking=st.booleans(),
    slow=st.sampled_from([False, False, False, True]),
    debug=st.sampled_from([False, False, False, True]),
    factory=st.sampled_from(
        ["none", "none", "none", "subclass", *(["eager"] if sys.version_info >= (3, 12) else [])]
    ),
)


def _program(names: tuple[str, ...]) -> st.SearchStrategy[Program]:
    def body(least: int, most: int) -> st.SearchStrategy[Body]:
        return st.lists(statement(names), min_size=least, max_size=most).map(tuple)

    return st.builds(
        Program,
        options=options,
        disturbances=disturbances(names),
        callbacks=st.just(()),
        coroutines=st.tuples(*(body(1, 6) for _ in range(COROUTINES))),
        main=body(1, 6),
    )


programs = st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True).map(tuple).flatmap(_program)
