"""Programs that take away from a Runner what it goes by, while it runs or makes its loop."""

import asyncio
import gc
import signal

from .table import attempt, case, cases

ATTRIBUTES = (
    "_state",
    "_debug",
    "_loop_factory",
    "_loop",
    "_context",
    "_interrupt_count",
    "_set_event_loop",
)


class Anything:
    """No number, no loop, no context."""


def take(runner, names=ATTRIBUTES):
    for name in names:
        attempt(delattr, runner, name)
    gc.collect()


def give_back(runner, kept):
    """What it needs to close its loop."""
    runner._state, runner._loop, runner._set_event_loop = kept
    runner.close()


def run_hostile(impl, act):
    """Run `act(runner)` in a coroutine of a Runner, twice, the second time with a Ctrl-C before it."""
    for interrupts in (False, True):
        runner = impl.Runner(debug=False, loop_factory=impl.new_event_loop)
        runner.get_loop()
        kept = runner._state, runner._loop, runner._set_event_loop

        async def main(runner=runner, interrupts=interrupts):
            if interrupts:
                signal.raise_signal(signal.SIGINT)
            act(runner)
            await impl.sleep(0)

        try:
            attempt(runner.run, main())
        except (KeyboardInterrupt, asyncio.CancelledError):
            pass
        signal.signal(signal.SIGINT, signal.default_int_handler)
        give_back(runner, kept)


@cases(
    "runner_loses",
    {name.strip("_"): (name,) for name in ATTRIBUTES} | {"everything": ATTRIBUTES},
)
def _runner_loses(impl, names):
    run_hostile(impl, lambda runner: take(runner, names))


@cases("runner_is_given", {name.strip("_"): name for name in ATTRIBUTES})
def _runner_is_given(impl, name):
    def act(runner):
        setattr(runner, name, Anything())
        gc.collect()

    run_hostile(impl, act)


@case
def runner_is_closed_by_what_it_runs(impl):
    run_hostile(impl, lambda runner: attempt(runner.close))


@case
def runner_is_made_anew_by_what_it_runs(impl):
    run_hostile(impl, lambda runner: runner.__init__())


@case
def runner_whose_factory_empties_it(impl):
    loops = []

    def factory():
        take(runner)
        loops.append(impl.new_event_loop())
        return loops[-1]

    runner = impl.Runner(loop_factory=factory, debug=True)
    attempt(runner.get_loop)
    attempt(runner.run, None)
    for loop in loops:
        loop.close()


@case
def runner_whose_loop_empties_it(impl):
    class Loop:
        def set_debug(self, enabled):
            take(runner)

        def create_task(self, coro, *, context=None):
            take(runner)
            return coro

        def run_until_complete(self, coro):
            take(runner)
            coro.close()
            raise asyncio.CancelledError

    async def main():
        pass

    for debug in (None, True):
        runner = impl.Runner(loop_factory=Loop, debug=debug)
        coro = main()
        try:
            attempt(runner.run, coro)
        except asyncio.CancelledError:
            pass
        coro.close()
        signal.signal(signal.SIGINT, signal.default_int_handler)


@case
def runner_whose_method_empties_it(impl):
    class Emptied(impl.Runner):
        def _lazy_init(self):
            super()._lazy_init()
            loops.append(self._loop)
            take(self)

        @property
        def _on_sigint(self):
            take(self)
            return lambda *args, main_task: None

    loops = []
    runner = Emptied(loop_factory=impl.new_event_loop)
    attempt(runner.get_loop)
    coro = impl.sleep(0)
    attempt(runner.run, coro)
    coro.close()
    for loop in loops:
        loop.close()


@case
def runner_that_only_its_run_holds(impl):
    async def main():
        holder.clear()
        gc.collect()
        await impl.sleep(0)
        loops.append(asyncio.get_running_loop())
        return "done"

    loops = []
    holder = [impl.Runner(loop_factory=impl.new_event_loop)]
    assert holder[0].run(main()) == "done"
    gc.collect()
    for loop in loops:
        loop.close()


@case
def runner_method_of_others(impl):
    coro = impl.sleep(0)
    for method in (impl.Runner.run, impl.Runner._lazy_init):
        for arguments in ((), (1,), (None, coro), (asyncio.Runner, coro), (impl.Runner, coro)):
            attempt(method, *arguments)
    attempt(impl.Runner.__new__(impl.Runner).run, coro)
    coro.close()
