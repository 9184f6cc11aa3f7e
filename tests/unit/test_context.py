"""Context variables of callbacks and tasks, whose contexts our loop makes late and uses again."""

import contextvars
import gc
import weakref

import pytest

from . import support

variable = contextvars.ContextVar("variable", default="default")


class Value:
    """Something that a weak reference can watch."""


def test_what_a_callback_sets_is_its_own(loop):
    seen = []

    def callback(number):
        seen.append(variable.get())
        variable.set(number)

    for number in range(3):
        loop.call_soon(callback, number)
    loop.call_later(0, callback, 3)
    support.run_once(loop, 3)
    assert seen == ["default"] * 4
    assert variable.get() == "default"


def test_a_callback_sees_the_moment_it_was_queued_in(loop):
    seen = []

    def queue():
        for number in range(3):
            variable.set(number)
            loop.call_soon(lambda: seen.append(variable.get()))
        variable.set("later")

    loop.call_soon(queue)
    support.run_once(loop, 2)
    assert seen == [0, 1, 2]


def test_nested_callbacks_each_have_a_context(loop):
    seen = []

    def outer():
        variable.set("outer")
        handle = loop.call_soon(int)
        handle._run()
        handle._context.run(seen.append, variable.get())
        seen.append(handle._context[variable])
        variable.set("changed")
        seen.append(handle._context[variable])

    loop.call_soon(outer)
    support.run_once(loop, 2)
    assert seen == ["outer", "outer", "outer"]


def test_the_context_of_a_handle_is_one_object(loop):
    before, after = loop.call_soon(variable.set, 1), loop.call_soon(variable.set, 2)
    context = before._context
    support.run_once(loop)
    assert before._context is context
    assert context[variable] == 1
    assert after._context[variable] == 2
    assert after._context is after._context


def test_a_token_goes_back_in_the_context_it_came_from(loop):
    tokens = []
    handle = loop.call_soon(lambda: tokens.append(variable.set("set")))
    support.run_once(loop)
    loop.call_soon(int)
    support.run_once(loop)
    with pytest.raises(ValueError, match="was created in a different Context"):
        variable.reset(tokens[0])
    handle._context.run(variable.reset, tokens[0])
    assert handle._context.get(variable) is None


def test_values_die_with_the_callback(loop):
    def queue():
        value = Value()
        loop.call_soon(variable.set, value)
        return weakref.ref(value)

    watched = queue()
    assert watched() is not None
    support.run_once(loop)
    gc.collect()
    assert watched() is None


def test_the_collector_sees_the_values_of_a_queued_callback(ours):
    loop = ours.new_event_loop()
    value = Value()
    context = contextvars.copy_context()
    context.run(variable.set, value)
    context.run(loop.call_later, 1000, int)
    handle = context.run(loop.call_soon, int)
    value.cycle = loop, handle
    watched = weakref.ref(value)
    loop.close()
    del value, context, loop, handle
    support.collect()
    assert watched() is None


def test_a_task_keeps_its_variables_from_step_to_step(impl, loop):
    seen = []

    async def main(number):
        for step in range(3):
            seen.append(variable.get())
            variable.set((number, step))
            await impl.sleep(0)

    async def both():
        await impl.gather(main(1), main(2))

    loop.run_until_complete(both())
    assert seen == ["default", "default", (1, 0), (2, 0), (1, 1), (2, 1)]


def test_a_token_of_one_step_is_good_in_the_next(impl, loop):
    async def main():
        token = variable.set("set")
        await impl.sleep(0)
        variable.reset(token)
        return variable.get()

    assert loop.run_until_complete(main()) == "default"


def test_a_given_context_keeps_what_the_task_sets(impl, loop):
    context = contextvars.copy_context()

    async def main():
        variable.set("main")
        await impl.sleep(0)
        assert variable.get() == "main"

    task = loop.create_task(main(), context=context)
    loop.run_until_complete(task)
    assert context[variable] == "main"


@pytest.mark.skipif(not support.PY312, reason="Task.get_context is new in 3.12")
def test_the_context_of_a_task_is_one_object(impl, loop):
    async def main():
        contexts.append(impl.current_task().get_context())
        variable.set("main")
        await impl.sleep(0)
        contexts.append(impl.current_task().get_context())

    contexts = []
    task = loop.create_task(main())
    loop.run_until_complete(task)
    contexts.append(task.get_context())
    assert contexts[0] is contexts[1] is contexts[2]
    assert contexts[0][variable] == "main"


def test_a_context_that_is_entered_already_is_refused(loop):
    reported = []
    loop.set_exception_handler(lambda loop, details: reported.append(details["exception"]))
    context = contextvars.copy_context()

    handle = loop.call_soon(context.run, int, context=context)
    support.run_once(loop)
    assert [type(error) for error in reported] == [RuntimeError]
    assert "is already entered" in str(reported[0])
    assert handle._context is context


def test_what_is_no_context_is_never_used_as_one(ours, stock):
    """Four empty fields look like a context that nobody has entered."""

    class Impostor:
        __slots__ = ("a", "b", "c", "d")

    def seen(impl):
        reported, ran, tokens = [], [], []
        with support.closing(impl.new_event_loop()) as loop:
            loop.set_exception_handler(lambda loop, details: reported.append("exception" in details))
            for _ in range(3):
                loop.call_soon(lambda: tokens.append(variable.set("keeps the context of this callback")))
                loop.call_soon(ran.append, "impostor", context=Impostor())
                loop.call_soon(ran.append, "callback")
                support.run_once(loop)
        return reported, ran

    assert seen(ours) == seen(stock) == ([True] * 3, ["callback"] * 3)


def test_whatever_can_run_is_a_context(loop):
    calls = []

    class Context:
        def run(self, callback, *args):
            calls.append(("run", *args))
            return callback(*args)

    context = Context()
    loop.call_soon(calls.append, 1, context=context)
    loop.call_soon(lambda *args: calls.append(args), 1, 2, 3, 4, 5, context=context)
    loop.call_later(0, calls.append, 2, context=context)
    support.run_once(loop, 3)
    assert calls == [("run", 1), 1, ("run", 1, 2, 3, 4, 5), (1, 2, 3, 4, 5), ("run", 2), 2]


def unused_contexts(loop):
    """Return the contexts without variables that the garbage collector shows, among them ours that waits for its next use."""
    loop.call_soon(int)
    support.run_once(loop)
    gc.unfreeze()
    return [one for one in gc.get_objects() if type(one) is contextvars.Context and not len(one)]


def test_contexts_that_the_collector_shows_are_nobody_elses(loop):
    contexts = unused_contexts(loop)
    seen = []

    def inside():
        variable.set("inside")
        loop.call_soon(lambda: seen.extend([variable.get(), *map(len, contexts)]))
        support.run_once(loop)

    contextvars.Context().run(inside)
    assert seen == ["inside"] + [0] * len(contexts)


@pytest.mark.skipif(
    support.PY314, reason="from Python 3.14 on the collector shows contexts that are entered, too"
)
def test_contexts_that_the_collector_shows_can_be_entered(loop):
    seen = []

    def inside():
        loop.call_soon(lambda: seen.append(variable.get()))
        support.run_once(loop)

    contexts = unused_contexts(loop)
    for context in contexts:
        context.run(variable.set, "entered")
        context.run(inside)
    assert seen == ["entered"] * len(contexts)


@pytest.mark.skipif(
    support.PY314, reason="from Python 3.14 on the collector shows contexts that are entered, too"
)
def test_contexts_that_the_collector_shows_can_be_changed(loop):
    seen = []
    for context in unused_contexts(loop):
        context.run(variable.set, "somebody else's")
    context = None
    loop.call_soon(lambda: seen.append(variable.get()))
    support.run_once(loop)
    assert seen == ["default"]
