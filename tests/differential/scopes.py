"""Random programs of deadlines and groups: timeouts in timeouts, groups in groups, and what cancels them at any point.

They are programs like those of grammar.py, of which these take the parts, but of few kinds of statements, so that what
comes of their meeting comes often.
"""

from __future__ import annotations

import functools

from hypothesis import strategies as st

from . import grammar
from .grammar import CALLBACKS, CATCHES, COROUTINES, HANDLING, PY315, attempts, each, guarded
from .program import Block, Body, Options, Program, Statement

SCOPES = ["s0", "s1"]
GROUPS = ["g0", "g1"]
DELAYS = ["None", "0", "1", "2", "3", "0.5", "-1"]
MOMENTS = ["None", *each("loop.time() + ?", ["0", "1", "2", "0.5", "-1", "50"])]
FAILURES = [
    "Boom(1)",
    "Boom(2)",
    "BaseBoom(3)",
    "KeyboardInterrupt()",
    "asyncio.CancelledError('own')",
    "TimeoutError()",
]

LOOKS = attempts(
    *each("?.reschedule(?)", SCOPES, MOMENTS),
    *each("?.expired()", SCOPES),
    *each("?.when()", SCOPES),
    *each("?._state", SCOPES),
    *each("?._timeout_handler", SCOPES),
    *each("?._cancelling", SCOPES),
    *each("?", SCOPES + GROUPS),
    *each("?.create_task(leaf(4))", GROUPS),
    *each("len(?._tasks)", GROUPS),
    *each("len(?._errors)", GROUPS),
    "(g0._entered, g0._exiting, g0._aborting, g0._parent_cancel_requested)",
    "g0._base_error",
    *(each("?.cancel()", GROUPS) if PY315 else []),
    *each("?.cancel()", ["t0", "t1", "t2", "main_task", "f0", "f1"]),
    *each("?.cancel('why')", ["t0", "t1", "main_task"]),
    *each("?.cancelling()", ["t0", "t1", "main_task"]),
    "asyncio.current_task().uncancel()",
    "asyncio.current_task().cancel()",
    "f0.set_result(1)",
    "f0.set_exception(Boom(5))",
    "f1.set_result(2)",
)

OUTSIDE = [
    *each("?.cancel()", ["t0", "t1", "t2", "main_task"]),
    *each("?.cancel('outside')", ["t0", "t1", "main_task"]),
    *each("?.set_result(7)", ["f0", "f1"]),
    "f0.set_exception(Boom(6))",
    "f0.cancel()",
    *each("?.reschedule(?)", SCOPES, MOMENTS[:3]),
    *each("?.create_task(leaf(5))", GROUPS),
    *(each("?.cancel()", GROUPS) if PY315 else []),
    "interrupt()",
]
DISTURBANCES = [
    *each("in_turns(?, lambda: ?)", list("123456789"), OUTSIDE),
    *each("later(?, lambda: ?)", ["1", "2", "3", "0.5"], OUTSIDE),
]

RAISES = each("raise ?", FAILURES)


@functools.cache
def children(rank: int) -> list[str]:
    """Return coroutines that a group or a wait_for() of the coroutine `rank` runs."""
    return [
        "leaf(1)",
        "failing(2)",
        "stubborn(3)",
        "asyncio.sleep(1, 8)",
        *grammar.coroutines_above(rank)[2:],
    ]


@functools.cache
def awaitable(rank: int, depth: int = 2) -> st.SearchStrategy[str]:
    simple = st.sampled_from(
        [
            "asyncio.sleep(0)",
            *each("asyncio.sleep(?, 3)", ["1", "2", "0.5"]),
            "f0",
            "f1",
            "t0",
            "t1",
            "Awaitable(f0)",
            "bare_yield()",
            *children(rank),
        ]
    )
    if depth == 0:
        return simple
    inner = st.one_of(simple, awaitable(rank, depth - 1))
    return st.one_of(
        simple,
        st.builds("asyncio.wait_for({}, {})".format, inner, st.sampled_from(DELAYS)),
        inner.map("asyncio.shield({})".format),
        st.builds("asyncio.wait_for({}, {})".format, inner, st.sampled_from(DELAYS)),
    )


@functools.cache
def statement(rank: int, depth: int = 3) -> st.SearchStrategy[Statement]:
    awaits = awaitable(rank)
    choices: list[st.SearchStrategy[Statement]] = [
        awaits.map(grammar.awaiting),
        st.builds(guarded, awaits, st.sampled_from(CATCHES), st.sampled_from([(), *HANDLING])),
        st.sampled_from(LOOKS),
        st.sampled_from(LOOKS),
    ]
    if depth:
        below = st.lists(statement(rank, depth - 1), max_size=3).map(tuple)
        choices += [compounds(rank, below)] * 3
    else:
        choices.append(st.sampled_from(RAISES))
    return st.one_of(*choices)


def compounds(rank: int, below: st.SearchStrategy[Body]) -> st.SearchStrategy[Statement]:
    child = st.sampled_from(children(rank))
    return st.one_of(
        st.builds(
            lambda scope, call, body: Block(((f"async with asyncio.{call} as {scope}:", body),)),
            st.sampled_from(SCOPES),
            st.one_of(
                st.sampled_from(DELAYS).map("timeout({})".format),
                st.sampled_from(MOMENTS).map("timeout_at({})".format),
            ),
            below,
        ),
        st.builds(
            lambda kind, group, names, body: Block(
                (
                    (
                        f"async with {kind} as {group}:",
                        (*(f"t{n} = {group}.create_task({child})" for n, child in enumerate(names)), *body),
                    ),
                )
            ),
            # The order of a set of several tasks is that of addresses.
            st.sampled_from(["TaskGroup()", "TaskGroup()", "asyncio.TaskGroup()"]),
            st.sampled_from(GROUPS),
            st.lists(child, max_size=3),
            below,
        ),
        st.builds(
            lambda body, catch, handler: Block(
                (("try:", body), (catch, ('log("caught", error)', *handler))),
            ),
            below,
            st.sampled_from(CATCHES),
            st.sampled_from([(), *HANDLING]),
        ),
        st.builds(
            lambda name, child, body: Block(
                (("if True:", (f"{name} = asyncio.create_task({child})", *body)),)
            ),
            st.sampled_from(grammar.TASKS),
            child,
            below,
        ),
        *completions(rank, below),
    )


def completions(rank: int, below: st.SearchStrategy[Body]) -> list[st.SearchStrategy[Statement]]:
    """Return the strategies of loops over as_completed(): what is started or done at once would come by its address."""
    one = st.sampled_from(["f0", "t0", "f1", *children(rank)]).map("[{}]".format)
    several = st.sampled_from(["pending(f0, f1)", "pending(f0, t0, f1, t1, f0)", "pending(t0, t1, t2)"])
    call = st.builds(
        "asyncio.as_completed({}, timeout={})".format,
        st.one_of(one, several, several),
        st.sampled_from(DELAYS),
    )
    gathered = call.map(
        lambda call: guarded(f"asyncio.gather(*{call}, return_exceptions=True)", CATCHES[0], ())
    )
    strategies = [
        st.builds(
            lambda call, body: Block(
                ((f"for future in {call}:", ('log("completed", await future)', *body)),)
            ),
            call,
            below,
        ),
        gathered,
    ]
    if grammar.PY313:
        strategies.append(
            st.builds(
                lambda call, body: Block(
                    ((f"async for future in {call}:", ('log("completed", future)', *body)),)
                ),
                call,
                below,
            )
        )
    return strategies


options = st.builds(
    Options,
    ticking=st.booleans(),
    slow=st.sampled_from([False, False, False, True]),
    debug=st.sampled_from([False, False, False, False, True]),
    handler=st.booleans(),
    factory=st.sampled_from(["none", "none", "none", "none", *grammar.FACTORIES]),
)

programs = st.builds(
    Program,
    options=options,
    disturbances=st.lists(st.sampled_from(DISTURBANCES), max_size=4).map(tuple),
    callbacks=st.just(((),) * CALLBACKS),
    coroutines=st.tuples(
        *(st.lists(statement(n, 1), min_size=1, max_size=4).map(tuple) for n in range(COROUTINES))
    ),
    main=st.lists(statement(-1), min_size=2, max_size=6).map(tuple),
)
