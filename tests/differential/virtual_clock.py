"""The virtual clock of virtual_clock.c: how it is built, how a process is started with it, and how it is driven."""

from __future__ import annotations

import ctypes
import os
import pathlib
import shlex
import subprocess
import sys
import sysconfig

FOLDER = pathlib.Path(__file__).resolve().parent
START = 1000  # seconds; what the clock shows at the beginning of each program


def compiler() -> list[str]:
    """Return the command of the compiler that built the extension."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")


def build(folder: pathlib.Path) -> pathlib.Path:
    """Compile the library into `folder`, and return its path."""
    library = folder / "virtual_clock.so"
    options = ["-std=c11", "-O1", "-shared", "-fPIC", "-o", str(library)]
    subprocess.run([*compiler(), *options, str(FOLDER / "virtual_clock.c"), "-ldl"], check=True)
    return library


def environment(library: pathlib.Path) -> dict[str, str]:
    """Return the environment of a process that has the virtual clock and finds the packages under test."""
    preload = [value for value in (os.environ.get("LD_PRELOAD"), str(library)) if value]
    folders = [str(FOLDER.parents[1]), str(FOLDER.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(preload),
        "PYTHONPATH": os.pathsep.join(folders),
        # What programs print must not depend on it: the order of sets of strings.
        "PYTHONHASHSEED": "0",
    }


def command(*arguments: str) -> list[str]:
    """Return the command that runs the campaign of __main__.py; its process needs `environment()`."""
    return [sys.executable, "-m", "differential", *arguments]


class Clock:
    """The clock of this process, which must have been started with the library."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._start = library.virtual_clock_start
        self._start.argtypes = [ctypes.c_int64, ctypes.c_int, ctypes.c_int64]
        self._advance = library.virtual_clock_advance
        self._advance.argtypes = [ctypes.c_int64]
        self._stop = library.virtual_clock_stop

    def start(self, grace_ms: int = 0, ready_ms: int = 0) -> None:
        self._start(START * 10**9, grace_ms, ready_ms * 10**6)

    def advance(self, seconds: int) -> None:
        self._advance(seconds * 10**9)

    def stop(self) -> None:
        self._stop()


def is_loaded() -> bool:
    return hasattr(ctypes.CDLL(None), "virtual_clock_start")
