"""The commands of `python -m asyncio_c` that look at other processes."""

from __future__ import annotations

import importlib
import os
import sys

COMMANDS = ("ps", "top")


def run(name: str, arguments: list[str]) -> int:
    """Run a command and return the status with which the process is to exit; what cannot be done is one line and status 1."""
    from . import client

    command = importlib.import_module(f"{__package__}.{name}")
    try:
        status: int = command.main(arguments)
        sys.stdout.flush()
    except client.MonitorError as error:
        print(f"asyncio_c {name}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status
