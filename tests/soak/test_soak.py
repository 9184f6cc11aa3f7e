"""A few small rounds are run with the other tests; `make soak` runs large ones for as long as one likes."""

import subprocess
import sys


def test_small_rounds():
    options = ["--seconds=0", "--connections=200", "--timers=10000"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", *options], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 rounds, 200 connections at once" in done.stdout
    assert "File descriptor" not in done.stderr
