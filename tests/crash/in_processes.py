"""The end of the interpreter, threads that do not know of it, forks."""

import asyncio
import atexit
import gc
import os
import signal
import socket
import sys
import threading

from .table import Recorder, attempt, case, new_loop, pair, turns


async def forever(impl):
    while True:
        await impl.sleep(0.001)


def alive(impl):
    """A loop in the middle of everything."""
    loop = impl.new_event_loop()

    async def busy():
        for _ in range(5):
            loop.create_task(forever(impl))
        impl.gather(forever(impl), forever(impl))
        loop.create_task(impl.wait([loop.create_task(forever(impl))]))
        loop.create_task(asyncio.wait_for(forever(impl), 3600))
        loop.call_later(3600, print)
        server = await loop.create_server(Recorder, "127.0.0.1", 0)
        for _ in range(3):
            transport, _ = await loop.create_connection(Recorder, *server.sockets[0].getsockname())
            transport.write(b"x" * 1_000_000)
        ours, theirs = pair()
        loop.add_reader(theirs, theirs.recv, 1)
        loop.create_task(loop.sock_recv(ours, 1))
        loop.run_in_executor(None, int)
        future = loop.create_future()
        future.set_exception(ValueError())
        return server, ours, theirs

    loop.kept = loop.run_until_complete(busy())
    return loop


@case
def ends_with_a_live_loop(impl):
    sys.modules["__main__"].loop = alive(impl)


@case
def ends_with_a_live_loop_in_a_cycle(impl):
    loop = alive(impl)
    loop.me = loop


@case
def ends_with_a_dropped_loop(impl):
    loop = alive(impl)
    del loop
    gc.collect()


@case
def ends_with_a_closed_loop(impl):
    loop = alive(impl)
    loop.close()
    sys.modules["__main__"].loop = loop


@case(raises="at once")
def ends_within_a_callback(impl):
    loop = alive(impl)

    def leave():
        raise SystemExit("at once")

    loop.call_soon(leave)
    try:
        loop.run_forever()
    except SystemExit as error:
        raise RuntimeError(f"SystemExit: {error}") from None


@case
def modules_are_forgotten(impl):
    loop = alive(impl)
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("asyncio", "asyncio_c", "_asyncio")
    ]:
        del sys.modules[name]
    gc.collect()
    attempt(turns, loop, 5)
    if impl.native_loop:
        attempt(__import__, "asyncio_c")
    sys.modules["__main__"].loop = loop


@case
def module_is_imported_again(impl):
    """A second instance of the C module, with types of its own, beside the first."""
    if not impl.native_loop:
        return
    first = alive(impl)
    for name in [name for name in sys.modules if name.partition(".")[0] == "asyncio_c"]:
        del sys.modules[name]
    second = attempt(__import__, "asyncio_c")
    if isinstance(second, Exception):
        return

    async def main():
        await second.sleep(0)
        await impl.sleep(0)
        await second.gather(second.sleep(0), impl.sleep(0))

    attempt(first.run_until_complete, main())
    loop = second.new_event_loop()
    attempt(loop.run_until_complete, main())
    loop.close()


@case
def destructor_uses_the_loop_at_the_end(impl):
    class Late:
        def __init__(self, loop):
            self.loop = loop
            self.me = self

        def __del__(self):
            attempt(self.loop.call_soon, int)
            attempt(self.loop.call_later, 1, int)
            attempt(self.loop.create_future)
            attempt(self.loop.stop)
            attempt(self.loop.run_forever)
            attempt(self.loop.close)

    sys.modules["__main__"].late = Late(alive(impl))


@case
def exit_handler_runs_the_loop(impl):
    loop = alive(impl)
    atexit.register(lambda: (turns(loop, 5), loop.close()))


@case
def daemon_thread_calls_in(impl):
    loop = alive(impl)
    calling = threading.Event()

    def call():
        while True:
            attempt(loop.call_soon_threadsafe, int)
            calling.set()

    for _ in range(3):
        threading.Thread(target=call, daemon=True).start()
    calling.wait()
    turns(loop, 50)
    loop.close()
    sys.modules["__main__"].loop = loop


@case
def daemon_thread_runs_a_loop(impl):
    running = threading.Event()

    def run():
        loop = alive(impl)
        loop.call_soon(running.set)
        loop.run_forever()

    threading.Thread(target=run, daemon=True).start()
    running.wait()


@case
def thread_closes_the_loop(impl):
    loop = alive(impl)
    started = threading.Event()

    def close():
        started.wait()
        attempt(loop.close)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=close)
    thread.start()
    loop.call_soon(started.set)
    loop.run_forever()
    thread.join()
    loop.close()


@case(stock="Python 3.13.0 forgets that it runs after it has refused to run again")
def threads_run_one_loop(impl):
    with new_loop(impl) as loop:
        running = threading.Event()

        def run():
            loop.call_soon(running.set)
            loop.run_forever()

        thread = threading.Thread(target=run)
        thread.start()
        running.wait()
        for _ in range(100):
            assert isinstance(attempt(loop.run_forever), RuntimeError)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@case(stock="its queue breaks")
def threads_use_what_is_not_for_threads(impl):
    """Wrong, but with a GIL no reason to die."""
    with new_loop(impl) as loop:

        def meddle():
            for _ in range(500):
                handles = [attempt(loop.call_soon, int), attempt(loop.call_later, 0, int)]
                for handle in handles:
                    attempt(handle.cancel)
                future = loop.create_future()
                attempt(future.add_done_callback, int)
                attempt(future.set_result, 1)

        threads = [threading.Thread(target=meddle) for _ in range(3)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            attempt(turns, loop, 1)
        for thread in threads:
            thread.join()


def forked(child):
    """Fork; in the child call `child` and end. Returns the child's exit status in the parent."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            child()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@case
def fork_in_a_callback_and_close(impl):
    loop = alive(impl)

    def child():
        asyncio._set_running_loop(None)
        loop._thread_id = None
        attempt(loop.stop)
        attempt(loop.close)
        gc.collect()

    statuses = []
    loop.call_soon(lambda: statuses.append(forked(child)))
    turns(loop)
    assert statuses == [0]
    turns(loop)


@case
def fork_in_a_callback_and_run_another_loop(impl):
    loop = alive(impl)

    def child():
        asyncio._set_running_loop(None)
        with new_loop(impl) as other:
            assert other.run_until_complete(impl.sleep(0.001, 5)) == 5

    statuses = []
    loop.call_soon(lambda: statuses.append(forked(child)))
    turns(loop)
    assert statuses == [0]


@case
def fork_in_a_task_and_return_to_the_loop(impl):
    """Both processes go on with the same loop, and both end as programs do."""
    loop = impl.new_event_loop()

    async def main():
        ours, theirs = socket.socketpair()
        transport, _ = await loop.create_connection(Recorder, sock=ours)
        pid = os.fork()
        if pid == 0:
            asyncio._set_running_loop(loop)  # asyncio lets go of it in a child
        await impl.sleep(0.001)
        if pid:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        transport.abort()
        await impl.sleep(0)
        theirs.close()

    loop.run_until_complete(main())
    loop.close()


@case
def fork_while_another_thread_runs_the_loop(impl):
    loop = alive(impl)
    running = threading.Event()

    def run():
        loop.call_soon(running.set)
        loop.run_forever()

    thread = threading.Thread(target=run)
    thread.start()
    running.wait()

    def child():
        attempt(loop.call_soon_threadsafe, int)
        attempt(loop.close)
        gc.collect()

    assert forked(child) == 0
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@case
def daemon_uses_the_loop_of_its_parent(impl):
    """It has closed all descriptors, and sockets of its own have their numbers."""
    loop = alive(impl)
    loop.add_signal_handler(signal.SIGUSR1, int)

    def child():
        asyncio._set_running_loop(None)
        os.closerange(3, 100)
        kept = [pair() for _ in range(40)]
        attempt(turns, loop)
        attempt(loop.call_soon_threadsafe, int)
        attempt(loop.add_reader, kept[0][0], int)
        attempt(loop.add_signal_handler, signal.SIGUSR2, int)
        attempt(turns, loop)
        with new_loop(impl) as other:
            attempt(other.run_until_complete, impl.sleep(0.001))
        attempt(loop.close)
        gc.collect()

    assert forked(child) == 0
    loop.close()
