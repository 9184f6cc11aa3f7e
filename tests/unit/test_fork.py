"""fork: the child's loop is not the parent's."""

import asyncio
import contextlib
import errno
import os
import pickle
import resource
import signal
import socket
import subprocess
import threading
import traceback
import warnings

import pytest

from . import support

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def fork():
    with warnings.catch_warnings():
        # 3.12 warns when a process with threads forks; pytest plugins may run some.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def in_child(function):
    """Run `function` in a forked child and return what it returned, or raise what it raised."""
    read_end, write_end = os.pipe()
    pid = fork()
    if pid == 0:
        code = 1
        try:
            os.close(read_end)
            try:
                answer = (True, function())
            except BaseException as exc:
                answer = (False, f"{type(exc).__name__}: {exc}")
            with os.fdopen(write_end, "wb") as pipe:
                pickle.dump(answer, pipe)
            code = 0
        finally:
            os._exit(code)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    worked, answer = pickle.loads(data)
    assert worked, answer
    return answer


def test_child_has_no_running_loop(impl):
    async def main():
        def look():
            running = asyncio._get_running_loop()
            try:
                asyncio.get_running_loop()
            except RuntimeError as exc:
                return running is None, str(exc)

        return in_child(look)

    assert impl.run(main()) == (True, "no running event loop")


def test_child_has_no_current_task(impl):
    async def main():
        loop = asyncio.get_running_loop()

        def look():
            try:
                return repr(asyncio.current_task())
            except RuntimeError as exc:
                return str(exc)

        answer = in_child(look)
        assert asyncio.get_running_loop() is loop
        return answer

    assert impl.run(main()) == "no running event loop"


def test_child_runs_a_loop_of_its_own_inside_the_parents_callback(impl):
    async def work(n):
        await impl.sleep(0)
        await impl.sleep(0.0001)
        return n

    async def main():
        def child():
            async def child_main():
                return await impl.gather(*(work(n) for n in range(5)))

            return impl.run(child_main())

        answers = [in_child(child) for _ in range(3)]
        # And the parent goes on as if nothing had been.
        return answers, await impl.gather(*(work(n) for n in range(5)))

    answers, own = impl.run(main())
    assert answers == [[0, 1, 2, 3, 4]] * 3
    assert own == [0, 1, 2, 3, 4]


def test_childs_new_loop_does_not_disturb_the_parents_poller(impl, loop):
    """An inherited epoll descriptor is shared: a change through it in the child would change the parent's."""
    left, right = socket.socketpair()
    left.setblocking(False)
    seen = []
    loop.add_reader(left, lambda: seen.append(left.recv(100)))

    def child():
        with support.closing(impl.new_event_loop()) as own:
            own.add_reader(left, int)
            own.remove_reader(left)
            support.run_once(own, 3)
        return "done"

    with left, right:
        assert in_child(child) == "done"
        right.send(b"still watched")
        support.run_once(loop, 2)
        assert seen == [b"still watched"]
        loop.remove_reader(left)


def test_childs_wake_up_does_not_reach_the_parent(impl, loop):
    def child():
        with support.closing(impl.new_event_loop()) as own:
            called = []
            own.call_soon_threadsafe(called.append, 1)
            support.run_once(own)
            return called

    support.run_once(loop)
    assert in_child(child) == [1]
    support.run_once(loop)


def test_loop_made_before_the_fork_and_run_only_in_the_child(impl):
    """gunicorn's pre-fork workers."""
    with support.closing(impl.new_event_loop()) as loop:

        async def main():
            await impl.sleep(0.0001)
            ready = loop.create_future()
            loop.call_soon_threadsafe(ready.set_result, "in the child")
            return await ready

        assert in_child(lambda: loop.run_until_complete(main())) == "in the child"


def test_child_drops_the_parents_loop(impl):
    """Collecting or closing inherited objects in the child must not crash."""

    async def main():
        loop = asyncio.get_running_loop()
        task = impl.create_task(impl.sleep(1000))
        await impl.sleep(0)

        def child():
            nonlocal loop, task
            task._log_destroy_pending = False
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                task = loop = None
                support.collect()
            return "collected"

        answer = in_child(child)
        task.cancel()
        await impl.wait([task])
        return answer

    assert impl.run(main()) == "collected"


def test_signal_handlers_of_the_parent_are_not_woken_by_the_child(loop):
    import signal

    loop.add_signal_handler(signal.SIGUSR1, int)

    def child():
        return signal.set_wakeup_fd(-1)

    try:
        if support.PY312:
            assert in_child(lambda: asyncio._get_running_loop()) is None
        assert isinstance(in_child(child), int)
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)


def test_child_without_descriptors_to_spare(impl, loop):
    """The loop cannot get a poller of its own: it says so each time, and works when it can."""
    left, right = socket.socketpair()

    def child():
        left.setblocking(False)
        failures = 0
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        for use in (
            loop.remove_reader,
            lambda sock: loop.add_writer(sock, int),
            lambda sock: support.run_once(loop),
        ):
            try:
                use(left)
            except OSError as error:
                assert error.errno == errno.EMFILE
                failures += 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        loop.add_writer(left, loop.stop)
        loop.run_forever()
        loop.close()
        return failures

    with left, right:
        loop.add_reader(left, int)
        failures = in_child(child)
        loop.remove_reader(left)
    assert (failures > 0) is impl.native_loop


def test_child_wakes_up_where_it_has_closed_what_is_watched(impl):
    """The waker of the child's loop must not get the number of a descriptor whose reader is still there."""
    loop = impl.new_event_loop()
    pairs = [socket.socketpair() for _ in range(4)]
    for ours, _ in pairs:
        loop.add_reader(ours.fileno(), print)

    def child():
        for ours, theirs in pairs:
            ours.close()
            theirs.close()
        called = loop.create_future()
        thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(called.set_result, 1))
        loop.call_soon(thread.start)
        return loop.run_until_complete(called)

    assert in_child(child) == 1
    for ours, theirs in pairs:
        loop.remove_reader(ours.fileno())
        ours.close()
        theirs.close()
    loop.close()


# ---- A child that closes what it has inherited, as daemons do ----


def close_all_but(*kept):
    """Close all descriptors from 3 on but some, as a daemon does. Returns the highest number that has become free."""
    numbers = {int(name) for name in os.listdir("/proc/self/fd")} - {0, 1, 2, *kept}
    for number in numbers:
        with contextlib.suppress(OSError):
            os.close(number)
    return max(numbers)


def open_files(folder, highest):
    """Open files under all free numbers up to one. Returns a function that tells whether they are still what they were."""
    files = {}
    while max(files, default=0) < highest:
        path = folder / str(len(files))
        files[os.open(path, os.O_RDWR | os.O_CREAT)] = path

    def untouched():
        for number, path in files.items():
            try:
                same = os.path.samestat(os.fstat(number), os.stat(path))
            except OSError:
                return f"descriptor {number} was closed"
            if not same or os.stat(path).st_size:
                return f"descriptor {number} is another file, or was written to"
        return True

    return untouched


def as_daemon(folder, function):
    """Have a child close all that it has inherited and open files instead, and return what `function(untouched)` returns there."""
    read_end, write_end = os.pipe()
    pid = fork()
    if pid == 0:
        code = 1
        try:
            untouched = open_files(folder, close_all_but(write_end))
            os.write(write_end, pickle.dumps(function(untouched)))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return pickle.loads(data)


@pytest.fixture
def inherited(impl):
    """A loop that a child inherits."""
    loop = impl.new_event_loop()
    yield loop
    loop.close()


def test_daemon_runs_the_loop(impl, inherited, tmp_path):
    def child(untouched):
        try:
            answer = inherited.run_until_complete(impl.sleep(0.001, "ran"))
        except OSError:
            answer = "OSError"
        return answer, untouched()

    assert as_daemon(tmp_path, child) == ("ran" if impl.native_loop else "OSError", True)


def test_daemon_runs_a_loop_that_watches_something(impl, inherited, tmp_path):
    """Nobody knows which files the numbers mean now."""
    left, right = socket.socketpair()
    inherited.add_reader(left, int)

    def child(untouched):
        errors = []
        for _ in range(2):
            try:
                inherited.run_until_complete(impl.sleep(0.001))
            except OSError as error:
                errors.append(error.errno)
        inherited.remove_reader(left)
        return len(errors), set(errors) <= {errno.EBADF, errno.EINVAL}, untouched()

    with left, right:
        assert as_daemon(tmp_path, child) == (2, True, True)
        inherited.remove_reader(left)


@pytest.mark.parametrize("runs", [False, True])
def test_daemon_closes_the_loop(ours, tmp_path, runs):
    """asyncio's selector closes whatever has its number."""
    with support.closing(ours.new_event_loop()) as loop:

        def child(untouched):
            if runs:
                loop.run_until_complete(ours.sleep(0))
            loop.close()
            return untouched()

        assert as_daemon(tmp_path, child) is True


def test_daemon_closes_a_loop_with_a_process_and_signals(ours, tmp_path):
    with support.closing(ours.new_event_loop()) as loop:

        async def start():
            return await asyncio.create_subprocess_exec("/bin/cat", stdin=subprocess.PIPE)

        process = loop.run_until_complete(start())
        loop.add_signal_handler(signal.SIGUSR1, int)

        def child(untouched):
            loop.close()
            return untouched()

        answer = as_daemon(tmp_path, child)
        loop.remove_signal_handler(signal.SIGUSR1)
        process.stdin.close()
        loop.run_until_complete(process.wait())
        assert answer is True


def descriptors():
    numbers = {int(name) for name in os.listdir("/proc/self/fd")}
    # Without that of the listing itself.
    return {number for number in numbers if os.path.exists(f"/proc/self/fd/{number}")}


def test_new_loop_of_a_child_has_the_numbers_of_the_old(ours):
    """Another epoll, which watches another pipe under the same number, is not the old loop's to close."""
    before = descriptors()
    loop = ours.new_event_loop()
    numbers = descriptors() - before

    def child():
        for number in numbers:
            os.close(number)
        with support.closing(ours.new_event_loop()) as new:
            assert all(os.path.exists(f"/proc/self/fd/{number}") for number in numbers)
            loop.close()
            called = new.create_future()
            thread = threading.Thread(target=lambda: new.call_soon_threadsafe(called.set_result, "woken"))
            new.call_soon(thread.start)
            return new.run_until_complete(called)

    assert in_child(child) == "woken"
    loop.close()


def test_loop_closed_after_all_descriptors_were(ours, tmp_path):
    """Without a fork in between: the program itself has closed them."""

    def child(_):
        before = descriptors()
        loop = ours.new_event_loop()
        loop.add_signal_handler(signal.SIGUSR1, int)
        left, right = socket.socketpair()
        loop.add_reader(left.detach(), int)
        right.detach()
        untouched = open_files(tmp_path, close_all_but(*before))
        loop.close()
        return untouched()

    assert as_daemon(tmp_path, child) is True


# ---- Signals of a child ----


def test_signal_of_a_child_does_not_reach_the_parent(impl, loop):
    """In asyncio up to 3.11 it does, for both write into the same socket."""
    if not impl.native_loop and not support.PY312:
        pytest.skip("asyncio calls the parent's handler up to Python 3.11")
    called = []

    async def main():
        loop.add_signal_handler(signal.SIGUSR1, called.append, "parent's")

        def child():
            os.kill(os.getpid(), signal.SIGUSR1)
            return "still there"

        answer = in_child(child)
        for _ in range(5):
            await impl.sleep(0)
        os.kill(os.getpid(), signal.SIGUSR2)
        await handled
        loop.remove_signal_handler(signal.SIGUSR1)
        loop.remove_signal_handler(signal.SIGUSR2)
        return answer

    handled = loop.create_future()
    loop.add_signal_handler(signal.SIGUSR2, handled.set_result, None)
    assert loop.run_until_complete(main()) == "still there"
    assert called == []


@pytest.mark.parametrize("makes_its_own", [True, False])
def test_signal_handler_of_a_child_is_its_own(ours, makes_its_own):
    """Also on the loop that it has inherited, which asyncio does not have."""
    with support.closing(ours.new_event_loop()) as loop:
        called = []
        loop.add_signal_handler(signal.SIGUSR1, called.append, "parent's")

        def child():
            own = ours.new_event_loop() if makes_its_own else loop
            handled = own.create_future()
            own.add_signal_handler(signal.SIGUSR1, handled.set_result, "child's")
            own.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
            return own.run_until_complete(handled)

        assert in_child(child) == "child's"
        support.run_once(loop, 3)
        assert called == []
        os.kill(os.getpid(), signal.SIGUSR1)
        support.run_once(loop, 3)
        assert called == ["parent's"]
        loop.remove_signal_handler(signal.SIGUSR1)
