"""A few programs, always the same, are run with the other tests; `make fuzz` runs others for as long as one likes."""

import subprocess
import sys


def test_some_programs():
    command = [sys.executable, "-m", "tests.fuzz", "--seed=1", "--count=30"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "30 programs, 0 fail" in done.stdout
