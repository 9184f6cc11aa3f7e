"""One operation in the middle of another, on the same object: by a name, a message, a hook, or the garbage collector."""

import asyncio
import os
import socket
import sys

from .table import attempt, case, cases, new_loop, turns

# ---- A task that is made anew while it is being made anew ----


def unmade(impl):
    return impl.Task.__new__(impl.Task)


async def noop():
    pass


def is_once(loop, task):
    """Whether the task is listed once, by a list that ends."""
    return sum(one is task for one in asyncio.all_tasks(loop)) == 1


@case
def name_makes_the_task_anew(impl):
    class Name:
        def __str__(self):
            task.__init__(noop(), loop=loop)
            return "name"

    with new_loop(impl) as loop:
        loop.create_task(noop())
        task = unmade(impl)
        attempt(task.__init__, noop(), loop=loop, name=Name())
        assert is_once(loop, task)
        turns(loop)
        assert not asyncio.all_tasks(loop)


@case
def old_coroutine_makes_the_task_anew(impl):
    async def waits(loop):
        try:
            await loop.create_future()
        finally:
            attempt(made[0].__init__, noop(), loop=loop)

    with new_loop(impl) as loop:
        made = [impl.Task(waits(loop), loop=loop)]
        turns(loop)
        attempt(made[0].__init__, noop(), loop=loop)
        assert is_once(loop, made[0])
        made[0].cancel()
        turns(loop)
        assert not asyncio.all_tasks(loop)


@case
def is_running_makes_the_task_anew(impl):
    if sys.version_info < (3, 12):
        return  # there are no eager tasks

    class Loop(impl.Loop):
        again = False

        def is_running(self):
            if self.again:
                self.again = False
                task.__init__(noop(), loop=self)
            return super().is_running()

    loop = Loop()
    loop.set_exception_handler(lambda loop, context: None)

    async def main():
        loop.again = True
        attempt(task.__init__, noop(), loop=loop, eager_start=True)

    task = unmade(impl)
    loop.run_until_complete(main())
    turns(loop)
    assert not asyncio.all_tasks(loop)
    loop.close()


# ---- What is let go of while it is used ----


@case(stock="crashes: it borrows the message")
def message_is_replaced_while_the_cancellation_is_passed_on(impl):
    class Refuses:
        """A future that is not cancelled, and takes the message from the task that is."""

        def __init__(self):
            self._asyncio_future_blocking = True

        def get_loop(self):
            return loop

        def add_done_callback(self, callback, *, context=None):
            pass

        def cancel(self, msg=None):
            outer._cancel_message = None
            return False

        def __await__(self):
            yield self

    class Message:
        pass

    async def wait():
        await Refuses()

    async def cancel_and_wait():
        await asyncio.sleep(0)
        outer.cancel(Message())
        await inner

    with new_loop(impl) as loop:
        inner, outer = loop.create_task(wait()), loop.create_task(cancel_and_wait())
        turns(loop)
        attempt(repr, inner._cancel_message)
        inner._log_destroy_pending = outer._log_destroy_pending = False


# ---- The end ----


@cases("ends_with_a_hook_that_knows_the_loop", {"audit": False, "fork": True})
def ends_with_a_hook_that_knows_the_loop(impl, by_fork):
    """It outlives all modules: at the very end it, the types and the module are collected together, in any order."""
    main = vars(sys.modules["__main__"])
    main["loop"] = loop = impl.new_event_loop()
    loop.me = loop
    kept = loop.kept = [loop.create_task(impl.sleep(100)), loop.call_soon(int), loop.call_later(100, int)]
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    kept += [theirs, loop.create_task(loop.sock_recv(ours, 1))]

    async def more():
        kept.append(impl.gather(impl.sleep(100), loop.create_future()))
        kept.append(loop.create_task(impl.wait([loop.create_future()])))
        kept.append(await loop.create_connection(asyncio.Protocol, sock=socket.socketpair()[0]))
        await impl.sleep(0)

    loop.run_until_complete(more())
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False
    hook = eval("lambda *args: loop and None", main)
    os.register_at_fork(after_in_child=hook) if by_fork else sys.addaudithook(hook)
