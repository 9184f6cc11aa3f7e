"""A few programs, always the same, are run with the other tests; `make fuzz` runs others for as long as one likes."""

import subprocess
import sys
import textwrap


def test_some_programs():
    command = [sys.executable, "-m", "tests.fuzz", "--seed=1", "--count=30"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "30 programs, 0 fail" in done.stdout


def test_a_step_that_never_ends_is_ended():
    """Wherever it is when its time is over: in a callback of a loop, which reports what callbacks raise, or in a destructor."""
    script = """
        import time
        import asyncio_c
        from tests.fuzz import programs

        class Slow:
            def __del__(self):
                started.append(self)
                time.sleep(1)

        def step(program):
            def again():
                loop.call_soon(again)
                time.sleep(0.001)
                if not started:
                    Slow()

            loop = asyncio_c.new_event_loop()
            loop.set_exception_handler(lambda loop, context: None)
            loop.call_soon(again)
            ended.append(loop)
            loop.run_forever()

        started, ended = [], []
        programs.Program.step = step
        programs.run(seed=1, steps=3)
        assert len(ended) == 3 and started
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
