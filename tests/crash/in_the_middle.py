"""One operation in the middle of another, on the same object: by a name, a message, a hook, or the garbage collector."""

import asyncio
import contextlib
import fcntl
import gc
import os
import select
import socket
import sys
import threading

from .table import Recorder, attempt, case, cases, new_loop, turns

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
            attempt(task.__init__, noop(), loop=loop)  # from 3.15 on it is refused
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


@case(stock="crashes: it borrows who waits")
def hash_of_who_waits_makes_the_future_anew(impl):
    """Python 3.14 keeps who waits for a future by a callback in a set."""
    add = getattr(asyncio.futures, "future_add_to_awaited_by", None)
    if add is None or not impl.native_names:  # asyncio's own futures, as in the stock case
        return

    class Waits(impl.Future):
        anew = False

        def __hash__(self):
            if self.anew:
                attempt(future.__init__, loop=loop)
            return 1

    with new_loop(impl) as loop:
        for count in range(1, 4):
            for discards in (False, True):
                future = impl.Future(loop=loop)
                waiters = [Waits(loop=loop) for _ in range(count)]
                for waiter in waiters[:-1]:
                    add(future, waiter)
                for waiter in waiters:
                    waiter.anew = True
                attempt(getattr, future, "_asyncio_awaited_by")
                attempt(
                    asyncio.futures.future_discard_from_awaited_by if discards else add, future, waiters[-1]
                )


@contextlib.contextmanager
def at_collection(number, act):
    """Let `act()` run in a collection from here on: on Python 3.11, as the `number`th object or so is made."""
    left = [1 + number // 2]

    def collected(phase, info):
        if phase == "stop":
            left[0] -= 1
            if left[0] == 0:
                gc.set_threshold(700, 10, 10)
                act()

    gc.callbacks.append(collected)
    gc.set_threshold(1, 1000, 1000)
    kept = [[] for _ in range(number % 2)]  # each second object brings a collection
    yield
    del kept
    gc.set_threshold(700, 10, 10)
    gc.callbacks.clear()


@case
def callbacks_change_while_they_are_listed(impl):
    async def wait(future):
        await future

    with new_loop(impl) as loop:
        for number in range(30):
            future = loop.create_future()
            tasks = [loop.create_task(wait(future)) for _ in range(5)]
            turns(loop, 2)

            def act(future=future, tasks=tasks):
                for _ in range(40):
                    future.add_done_callback(int)
                for task in tasks:
                    task.get_coro().close()
                    task.cancel()
                future.remove_done_callback(int)

            with at_collection(number, act):
                attempt(getattr, future, "_callbacks")
            future.cancel()
            turns(loop, 3)


@case
def queue_changes_while_it_is_listed(impl):
    with new_loop(impl) as loop:
        for number in range(60):
            coros = [impl.sleep(100, object()) for _ in range(5)]
            coros += [impl.wait([loop.create_future()], timeout=100) for _ in range(3)]
            tasks = [impl.Task(coro, loop=loop) for coro in coros]
            turns(loop, 2)
            for task in tasks[::2]:
                task._fut_waiter.cancel()

            def act(coros=coros, tasks=tasks):
                for coro in coros:
                    coro.close()
                for task in tasks:
                    attempt(task.__init__, impl.sleep(0), loop=loop)

            with at_collection(number, act):
                attempt(getattr, loop, "_ready")
                attempt(getattr, loop, "_scheduled")
            turns(loop, 5)


class ForeignContext:
    """What runs callbacks in a context's place."""

    @property
    def run(self):
        return lambda callback, *args: callback(*args)


@case
def handle_is_cancelled_while_its_arguments_are_taken(impl):
    with new_loop(impl) as loop:
        for number in range(40):
            called = []
            handle = loop.call_soon(
                lambda *args, to=called: to.append(args), 1, 2, 3, context=ForeignContext()
            )
            kept = [(n, n, n) for n in range(3000)]  # tuples that no dead ones leave their memory to
            with at_collection(number, handle.cancel):
                attempt(repr, attempt(getattr, handle, "_args"))
                attempt(handle._run)
            assert called in ([], [(1, 2, 3)])
            del kept
            turns(loop, 2)


@case
def gather_is_used_while_it_is_made(impl):
    """The garbage collector shows it before it has its children."""

    def use():
        for one in gc.get_objects():
            if type(one).__name__ == "_GatheringFuture":
                attempt(getattr, one, "_children")
                attempt(one.cancel)

    with new_loop(impl) as loop:

        async def main(number, coros):
            with at_collection(number, use):
                outer = impl.gather(*coros, return_exceptions=True)
            with contextlib.suppress(asyncio.CancelledError):
                await outer

        for number in range(50):
            # Tasks that no dead ones leave their memory to.
            kept = [loop.create_task(noop()) for _ in range(1100)]
            loop.run_until_complete(main(number, [noop() for _ in range(8)]))
            del kept


HOOKS = []
sys.addaudithook(lambda name, args: HOOKS and name == "socket.sendto" and HOOKS.pop()())


class Closes(bytes):
    """Data that ends its transport when its buffer is asked for, from Python 3.12 on."""

    def __buffer__(self, flags):
        attempt(self.close)
        return memoryview(bytes(self))


@cases("transport_ends_in", {"an_audit_hook": False, "the_buffer_of_its_data": True})
def transport_ends_in(impl, by_buffer):
    """What it was about to send does not go out by whoever has its descriptor's number now."""
    with new_loop(impl) as loop, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        theirs = peer.getsockname()
        address = {"remote_addr": theirs} if by_buffer else {"local_addr": ("127.0.0.1", 0)}
        transport, _ = loop.run_until_complete(
            loop.create_datagram_endpoint(asyncio.DatagramProtocol, **address)
        )
        number = transport.get_extra_info("socket").fileno()
        others = []

        def close():
            attempt(transport._call_connection_lost, None)
            others.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            assert others[0].fileno() == number
            others[0].connect(theirs)

        data = Closes(b"x")
        data.close = close
        if not by_buffer:
            HOOKS.append(close)
        attempt(transport.sendto, data, None if by_buffer else theirs)
        if others:
            assert isinstance(attempt(peer.recv, 10), BlockingIOError)
        assert others or (by_buffer and sys.version_info < (3, 12))
        HOOKS.clear()
        for other in others:
            other.close()


@case
def pipe_is_aborted_while_another_thread_writes(impl):
    """Which waits, because the pipe has become one that blocks. What it writes stays what it was."""
    with new_loop(impl) as loop:
        read_end, write_end = os.pipe()
        reader, writer = open(read_end, "rb", 0), open(write_end, "wb", 0)
        with reader, writer:
            transport, _ = loop.run_until_complete(loop.connect_write_pipe(Recorder, writer))
            os.set_blocking(write_end, True)
            core = sys.modules.get("asyncio_c._core")
            if hasattr(core, "_stress"):
                core._stress(0)  # whose calls would move less than all, and not wait
            size = 4 * fcntl.fcntl(write_end, fcntl.F_GETPIPE_SZ)
            thread = threading.Thread(target=transport.write, args=(bytearray(b"x" * size),))
            thread.start()
            while select.select([], [writer], [], 0)[1]:
                pass
            transport.abort()
            received = b""
            while len(received) < size:
                received += reader.read(size)
            thread.join()
            assert received == b"x" * size
            turns(loop)


@case
def end_of_a_task_closes_the_core_of_the_loop(impl):
    """The loop lets go of the task that has run last before it polls."""

    class Closes:
        def __del__(self):
            attempt(getattr(loop, "_close", int))

    async def returns():
        return Closes()

    loop = impl.new_event_loop()
    loop.create_task(returns())
    loop.call_later(0.001, loop.stop)
    attempt(loop.run_forever)
    attempt(loop.close)


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
