"""A child process that is asked and answers in lines of JSON. All processes of the benchmarks are such children."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TIME_LIMIT = 120.0  # seconds for one answer; a child that hangs is ended, and the rest goes on
CLOSE_LIMIT = 20.0  # seconds to end when its stdin has
ROOT = Path(__file__).resolve().parent.parent

# Settings that would change a target without being seen in the result.
UNWANTED_ENVIRONMENT = ("PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONTRACEMALLOC", "ASYNCIO_C")


class SampleFailed(Exception):
    """A child raised, returned a wrong result, crashed or hung. The text says which."""


class Child:
    """A process that ends with its stdin, hence also with this process, however that ends."""

    def __init__(self, command: Sequence[str]) -> None:
        environment = {k: v for k, v in os.environ.items() if k not in UNWANTED_ENVIRONMENT}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )

    def hello(self) -> dict[str, Any]:
        """Return what the child says before it is asked. Raises SampleFailed, after which the child is gone."""
        try:
            return self.read()
        except BaseException:
            self.close()
            raise

    def read(self) -> dict[str, Any]:
        """Return the next answer. Raises SampleFailed if it is an error, or does not come."""
        timed_out = threading.Event()

        def end() -> None:
            timed_out.set()
            self.process.kill()

        timer = threading.Timer(TIME_LIMIT, end)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            code = self.process.wait()
            if timed_out.is_set():
                raise SampleFailed(f"took longer than {TIME_LIMIT:.0f} s")
            raise SampleFailed(f"the process ended with status {code}")
        try:
            answer = json.loads(line)
        except ValueError:
            raise SampleFailed(f"answered {line.strip()!r}") from None
        if "error" in answer:
            raise SampleFailed(answer["error"])
        return answer

    def ask(self, request: Any) -> dict[str, Any]:
        """Send `request` and return the answer. Raises SampleFailed."""
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the process is gone, and read() says how it went
        return self.read()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(CLOSE_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
