"""What is tortured of Runner: making its loop, runs, and Ctrl-C."""

import contextlib
import signal

from .operations import operation, turns_that_may_fail


class Driven:
    """What a Runner has for its loop: tasks of `loop`, which is driven without a done callback, that may lack memory."""

    def __init__(self, loop):
        self.loop = loop
        self.create_task = loop.create_task
        self.call_soon_threadsafe = loop.call_soon_threadsafe

    def set_debug(self, enabled):
        pass

    def run_until_complete(self, task):
        for _ in range(300):
            turns_that_may_fail(self.loop, 1)
            if task.done():
                return task.result()


@operation
def runner(impl, loop):
    async def main(interrupted):
        # A run that has failed leaves the task, without a handler.
        if interrupted and signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            signal.raise_signal(signal.SIGINT)
        await impl.sleep(0)
        return "done"

    one = impl.Runner(debug=True, loop_factory=lambda: Driven(loop))
    yield
    try:
        assert one.run(main(False)) == "done"
        with contextlib.suppress(KeyboardInterrupt):
            one.run(main(True))
            raise AssertionError("not interrupted")
    finally:
        one._loop = None
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)
    one = impl.Runner(loop_factory=lambda: Driven(loop))
    assert one.run(main(False)) == "done"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
