"""Task: running coroutines, names, contexts, stacks, what a coroutine may yield."""

import asyncio
import contextvars
import io
import sys
import types
import weakref

import pytest

from . import support


@pytest.fixture(params=["class", "create_task"])
def new_task(request, impl, loop):
    """Make a task in both ways."""
    if request.param == "class":
        return lambda coro, **kwargs: impl.Task(coro, loop=loop, **kwargs)
    return lambda coro, **kwargs: loop.create_task(coro, **kwargs)


async def returns(value=None):
    return value


async def raises(exc):
    raise exc


def test_result(new_task, loop):
    task = new_task(returns("value"))
    assert not task.done()
    support.run_once(loop)
    assert task.done()
    assert task.result() == "value"
    assert task.exception() is None


def test_exception(new_task, loop):
    error = ValueError("x")
    task = new_task(raises(error))
    support.run_once(loop)
    assert task.exception() is error
    with pytest.raises(ValueError) as caught:
        task.result()
    assert caught.value is error


@pytest.mark.parametrize("value", [(), (1,), (1, 2), StopIteration(1), ValueError(), None])
def test_any_return_value(new_task, loop, value):
    task = new_task(returns(value))
    support.run_once(loop)
    assert task.result() is value


def test_starts_in_the_next_iteration(new_task, loop):
    order = []

    async def coro():
        order.append("task")

    loop.call_soon(order.append, "before")
    task = new_task(coro())
    loop.call_soon(order.append, "after")
    assert order == []
    support.run_once(loop)
    assert order == ["before", "task", "after"]
    assert task.done()


def test_each_bare_yield_is_one_iteration(new_task, loop):
    steps = []

    async def coro():
        for i in range(3):
            steps.append(i)
            await asyncio.sleep(0)

    task = new_task(coro())
    for i in range(3):
        support.run_once(loop)
        assert steps == list(range(i + 1))
        assert not task.done()
    support.run_once(loop)
    assert task.done()


def test_base_exception_of_the_coroutine(new_task, loop):
    class Odd(BaseException):
        pass

    task = new_task(raises(Odd("odd")))
    support.run_once(loop)
    assert isinstance(task.exception(), Odd)


@pytest.mark.parametrize("exc_type", [KeyboardInterrupt, SystemExit])
def test_exit_exceptions_leave_the_loop_and_stay_in_the_task(new_task, loop, exc_type):
    order = []
    loop.call_soon(order.append, 1)
    task = new_task(raises(exc_type("out")))
    loop.call_soon(order.append, 2)
    with pytest.raises(exc_type):
        loop.run_forever()
    assert order == [1]
    assert isinstance(task.exception(), exc_type)
    support.run_once(loop)
    assert order == [1, 2]


def test_task_awaits_task(loop, impl):
    async def outer():
        inner = impl.create_task(returns("inner"))
        return await inner

    assert loop.run_until_complete(outer()) == "inner"


def test_deep_chain_of_tasks(loop, impl):
    async def level(n):
        if n == 0:
            return 0
        return 1 + await impl.create_task(level(n - 1))

    assert loop.run_until_complete(level(500)) == 500


def test_names(new_task, loop):
    task = new_task(returns(), name="given")
    assert task.get_name() == "given"
    assert task.set_name("changed") is None
    assert task.get_name() == "changed"
    task.set_name(123)
    assert task.get_name() == "123"
    assert new_task(returns(), name=1.5).get_name() == "1.5"
    support.run_once(loop)


def test_default_names_count_up(new_task, loop):
    first, second = new_task(returns()), new_task(returns())
    assert first.get_name().startswith("Task-")
    numbers = [int(task.get_name().removeprefix("Task-")) for task in (first, second)]
    assert numbers[1] == numbers[0] + 1
    support.run_once(loop)


def test_a_named_task_takes_a_number_up_to_3_12(impl, loop):
    async def noop():
        pass

    async def main():
        tasks = [impl.create_task(noop()), impl.create_task(noop(), name="named"), impl.create_task(noop())]
        await impl.gather(*tasks)
        first, last = (int(task.get_name().removeprefix("Task-")) for task in (tasks[0], tasks[2]))
        return last - first

    assert loop.run_until_complete(main()) == (1 if support.PY313 else 2)


def test_default_names_are_stable(new_task, loop):
    task = new_task(returns())
    assert task.get_name() == task.get_name()
    support.run_once(loop)


def test_get_coro(new_task, loop):
    coro = returns()
    task = new_task(coro)
    assert task.get_coro() is coro
    assert task._coro is coro
    support.run_once(loop)


def test_private_attributes(new_task, loop):
    future = loop.create_future()

    async def waits():
        await future

    task = new_task(waits())
    assert task._fut_waiter is None
    assert task._must_cancel is False
    assert task._log_destroy_pending is True
    task._log_destroy_pending = False
    assert task._log_destroy_pending is False
    support.run_once(loop)
    assert task._fut_waiter is future
    future.set_result(None)
    support.run_once(loop)
    assert task._fut_waiter is None
    with pytest.raises(AttributeError):
        task._must_cancel = True
    with pytest.raises(AttributeError):
        task._fut_waiter = None


@pytest.mark.skipif(not support.PY312, reason="Task.get_context is new in 3.12")
def test_get_context(new_task, loop):
    context = contextvars.copy_context()
    task = new_task(returns(), context=context)
    assert task.get_context() is context
    assert isinstance(new_task(returns()).get_context(), contextvars.Context)
    support.run_once(loop)


def test_context_is_copied_at_creation(new_task, loop):
    var = contextvars.ContextVar("var", default="default")
    seen = []

    async def coro():
        seen.append(var.get())
        var.set("inside")
        await asyncio.sleep(0)
        seen.append(var.get())

    var.set("at creation")
    new_task(coro())
    var.set("after creation")
    support.run_once(loop, 3)
    assert seen == ["at creation", "inside"]
    assert var.get() == "after creation"


def test_given_context_is_used_itself(new_task, loop):
    var = contextvars.ContextVar("var")
    context = contextvars.copy_context()

    async def coro():
        var.set("written")

    new_task(coro(), context=context)
    support.run_once(loop)
    assert context[var] == "written"


def test_context_over_suspensions(loop, impl):
    var = contextvars.ContextVar("var")

    async def worker(n):
        var.set(n)
        for _ in range(3):
            await impl.sleep(0)
            assert var.get() == n
        await impl.sleep(0.0001)
        return var.get()

    async def main():
        return await impl.gather(*(worker(n) for n in range(20)))

    assert loop.run_until_complete(main()) == list(range(20))


def test_entered_context_is_an_error_of_the_task_not_of_the_loop(ours, stock):
    """The task's context is already entered by the callback that runs the loop: stock says what happens."""

    def outcome(impl):
        context = contextvars.copy_context()
        with support.closing(impl.new_event_loop()) as loop:
            contexts = []
            loop.set_exception_handler(lambda loop, context: contexts.append(context))

            def nested():
                task = loop.create_task(returns(1), context=context)
                support.run_once(loop)
                return task

            task = context.run(nested)
            result = [support.described(c["exception"]) for c in contexts], task.done()
            support.run_once(loop)
            task._log_destroy_pending = False
            return result

    assert outcome(ours) == outcome(stock)


# ---- what may not be done to a task ----


def test_no_set_result(new_task, loop):
    task = new_task(returns())
    with pytest.raises(RuntimeError, match="Task does not support set_result operation"):
        task.set_result(1)
    with pytest.raises(RuntimeError, match="Task does not support set_exception operation"):
        task.set_exception(KeyError())
    support.run_once(loop)


@pytest.mark.parametrize("bad", [None, 1, "text", int, returns])
def test_of_no_coroutine(new_task, bad):
    with pytest.raises(TypeError, match="a coroutine was expected, got"):
        new_task(bad)


def test_of_a_plain_generator(ours, stock):
    """Generators count as coroutines up to 3.11 only."""

    def generator():
        yield
        return "from a generator"

    def outcome(impl, name):
        with support.closing(impl.new_event_loop()) as loop:
            try:
                task = getattr(impl, name)(generator(), loop=loop)
            except TypeError as exc:
                return support.described(exc)
            return loop.run_until_complete(task)

    assert outcome(ours, "Task") == outcome(stock, "Task")


def test_wrong_constructor_calls(impl, loop):
    coro = returns()
    for call in (
        lambda: impl.Task(),
        lambda: impl.Task(coro, loop),
        lambda: impl.Task(coro, loop=loop, bogus=1),
    ):
        with pytest.raises(TypeError):
            call()
    coro.close()


def test_task_of_something_else_than_a_loop_is_not_reported_as_lost(impl):
    coro = returns()
    with support.recorded_unraisables() as unraisables:
        with pytest.raises(AttributeError, match="get_debug"):
            impl.Task(coro, loop=object())
        support.collect()
    coro.close()
    assert unraisables == []


@pytest.mark.skipif(not support.PY315, reason="the context is checked from 3.15 on")
def test_something_else_than_a_context(impl, loop):
    coro = returns()
    with pytest.raises(TypeError, match="^a contextvars.Context was expected, got int$"):
        impl.Task(coro, loop=loop, context=1)
    coro.close()


def test_without_a_loop(impl):
    async def main():
        task = impl.Task(returns("here"))
        assert task.get_loop() is asyncio.get_running_loop()
        return await task

    assert impl.run(main()) == "here"


# ---- what a coroutine may yield ----


@types.coroutine
def yields(value):
    return (yield value)


@pytest.mark.parametrize("value", [1, "text", object, (), [], 0, False, ...])
def test_bad_yields(new_task, loop, value):
    async def coro():
        with pytest.raises(RuntimeError, match="Task got bad yield: ") as caught:
            await yields(value)
        return str(caught.value)

    task = new_task(coro())
    support.run_once(loop, 2)
    assert task.result() == f"Task got bad yield: {value!r}"


def test_yield_instead_of_yield_from_a_future(new_task, loop):
    future = loop.create_future()

    async def coro():
        with pytest.raises(RuntimeError, match="yield was used instead of yield from in task"):
            await yields(future)
        return "caught"

    task = new_task(coro())
    support.run_once(loop, 2)
    assert task.result() == "caught"


def test_yield_of_a_generator(new_task, loop):
    def generator():
        yield

    async def coro():
        with pytest.raises(RuntimeError, match="yield was used instead of yield from for generator"):
            await yields(generator())
        return "caught"

    task = new_task(coro())
    support.run_once(loop, 2)
    assert task.result() == "caught"


def test_bare_yield_answers_none(new_task, loop):
    async def coro():
        return await yields(None)

    task = new_task(coro())
    support.run_once(loop, 2)
    assert task.result() is None


def test_future_of_another_loop(new_task, impl, loop):
    with support.closing(impl.new_event_loop()) as other:
        foreign = other.create_future()

        async def coro():
            with pytest.raises(RuntimeError, match="got Future .* attached to a different loop"):
                await foreign
            return "caught"

        task = new_task(coro())
        support.run_once(loop, 2)
        assert task.result() == "caught"


def test_await_on_itself(new_task, loop):
    async def coro():
        with pytest.raises(RuntimeError, match="Task cannot await on itself"):
            await task
        return "caught"

    task = new_task(coro())
    support.run_once(loop, 2)
    assert task.result() == "caught"


def test_yielded_object_whose_attribute_raises(ours, stock):
    """In stock the error leaves the step and goes to the loop's exception handler; the task stays pending."""

    class Odd:
        @property
        def _asyncio_future_blocking(self):
            raise LookupError("asked")

    async def coro():
        await yields(Odd())

    def outcome(impl):
        with support.closing(impl.new_event_loop()) as loop:
            contexts = []
            loop.set_exception_handler(lambda loop, context: contexts.append(context))
            task = impl.Task(coro(), loop=loop)
            support.run_once(loop, 3)
            errors = [support.described(context["exception"]) for context in contexts]
            messages = [support.masked(context["message"]) for context in contexts]
            result = task.done(), errors, messages
            task._log_destroy_pending = False
            return result

    assert outcome(ours) == outcome(stock)


# ---- stacks ----


def test_get_stack(new_task, loop):
    async def inner():
        await loop.create_future()

    async def outer():
        await inner()

    task = new_task(outer())
    support.run_once(loop)
    stack = task.get_stack()
    assert [frame.f_code.co_name for frame in stack] == ["outer"]
    assert task.get_stack(limit=1) == stack[:1]
    output = io.StringIO()
    task.print_stack(file=output)
    assert "outer" in output.getvalue() and "Stack for <Task pending" in output.getvalue()


def test_stack_of_a_failed_task(new_task, loop):
    async def inner():
        1 / 0

    async def outer():
        await inner()

    task = new_task(outer())
    support.run_once(loop)
    assert [frame.f_code.co_name for frame in task.get_stack()][-2:] == ["outer", "inner"]
    output = io.StringIO()
    task.print_stack(limit=5, file=output)
    assert "ZeroDivisionError" in output.getvalue()
    task.exception()


def test_stack_of_a_finished_task(new_task, loop):
    task = new_task(returns())
    support.run_once(loop)
    assert task.get_stack() == []


def test_stack_while_it_runs(new_task, loop):
    seen = []

    async def coro():
        seen.extend(frame.f_code.co_name for frame in task.get_stack())

    task = new_task(coro())
    support.run_once(loop)
    # A running frame has callers, the test itself among them; the coroutine is the innermost but one.
    assert "coro" in seen


# ---- the type ----


def test_isinstance(new_task, impl, loop):
    task = new_task(returns())
    assert isinstance(task, asyncio.Task) and isinstance(task, asyncio.Future)
    assert isinstance(task, impl.Task) and isinstance(task, impl.Future)
    assert issubclass(impl.Task, impl.Future)
    assert asyncio.isfuture(task)
    support.run_once(loop)


def test_stock_tasks_are_instances_of_ours(native, stock):
    with support.closing(stock.new_event_loop()) as loop:
        task = asyncio.Task(returns(), loop=loop)
        assert isinstance(task, native.Task) and isinstance(task, native.Future)
        assert issubclass(asyncio.Task, native.Task) and issubclass(asyncio.Task, native.Future)
        loop.run_until_complete(task)


def test_generic_alias(impl):
    assert impl.Task[int].__args__ == (int,)


def test_weak_reference_and_dict(new_task, loop):
    task = new_task(returns())
    assert weakref.ref(task)() is task
    task.attribute = 1
    assert task.attribute == 1
    support.run_once(loop)


def test_a_pending_task_that_waits_for_the_loop_is_kept_alive(loop):
    order = []

    async def coro():
        await asyncio.sleep(0)
        order.append("ran")

    loop.create_task(coro())
    support.collect()
    support.run_once(loop, 3)
    assert order == ["ran"]


def test_repr(new_task, loop):
    task = new_task(returns(), name="n")
    assert repr(task).startswith("<Task pending name='n' coro=<returns() running at ")
    support.run_once(loop)
    text = repr(task)
    assert text.startswith("<Task finished name='n' coro=<returns() done, defined at ")
    assert text.endswith(" result=None>")


def test_reference_counts(impl, loop):
    class Payload:
        pass

    async def coro(value):
        await asyncio.sleep(0)
        return value

    async def failing(error):
        await asyncio.sleep(0)
        raise error

    payload, error = Payload(), ValueError()
    before = sys.getrefcount(payload), sys.getrefcount(error), sys.getrefcount(coro)
    for _ in range(50):
        task = impl.Task(coro(payload), loop=loop, name="n")
        failed = impl.Task(failing(error), loop=loop)
        cancelled = impl.Task(coro(payload), loop=loop)
        support.run_once(loop)
        cancelled.cancel(payload)
        support.run_once(loop, 3)
        assert task.result() is payload
        assert failed.exception() is error
        assert cancelled.cancelled()
    del task, failed, cancelled
    error.__traceback__ = None
    support.collect()
    assert (sys.getrefcount(payload), sys.getrefcount(error), sys.getrefcount(coro)) == before


def test_finished_task_drops_its_coroutines_frame(new_task, loop):
    class Payload:
        pass

    payload = Payload()
    ref = weakref.ref(payload)

    async def coro(argument):
        await asyncio.sleep(0)

    task = new_task(coro(payload))
    del payload
    support.run_once(loop, 3)
    assert task.done()
    assert ref() is None
