"""Run a script under stock python and under python -m asyncio_c, and compare what it says.

All runs start at once and in the background, since the scripts sleep: `started` gives each script's pair to `compare` later.
"""

import asyncio
import contextlib
import os
import pathlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).parents[1]
STDLIB_ASYNCIO = pathlib.Path(asyncio.__file__).parent
TIMEOUT_S = 120  # of a run; a script that hangs is a failure, not a run without end


def environment():
    """Return the environment of the runs: asyncio_c importable, nothing of the caller's that changes asyncio."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ASYNCIO_C"))
    }
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1"}


def run(*arguments, folder=None, stdin=""):
    """Run python with these arguments and return its subprocess.CompletedProcess, output as text."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(),
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
    )


@contextlib.contextmanager
def started(scripts, folder):
    """Start scripts under stock python and under asyncio_c; give, of each, the two futures of CompletedProcess.

    At the end none of them runs any more: other tests of this process count its threads and descriptors, and pytest-xdist lets another
    process compare some of the scripts.
    """
    with ThreadPoolExecutor(8) as pool:
        try:
            yield {
                script: (
                    pool.submit(run, script, folder=folder),
                    pool.submit(run, "-m", "asyncio_c", script, folder=folder),
                )
                for script in scripts
            }
        finally:
            pool.shutdown(cancel_futures=True)


def drop_asyncio_frames(text):
    """Remove the traceback frames of asyncio's own files, which native code does not have, and their source lines."""
    lines, dropping = [], False
    for line in text.splitlines():
        frame = re.match(r'\s*(?:\| )?\s*File "([^"]+)", line \d+', line)
        if frame:
            folder = pathlib.Path(frame[1]).parent
            dropping = folder == STDLIB_ASYNCIO or folder == ROOT / "asyncio_c"
        elif not line.startswith("    "):
            dropping = False
        if not dropping:
            lines.append(line)
    return "\n".join(lines)


def sort_sets(line):
    """Sort a printed set of tasks: its order is that of their addresses."""
    found = re.fullmatch(r"\{(<.*>)\}", line)
    return "{" + ", ".join(sorted(re.split(r", (?=<)", found[1]))) + "}" if found else line


def mask(text):
    """Return text without what may differ between two runs: asyncio's frames and files, addresses, times, paths."""
    text = drop_asyncio_frames(text)
    text = re.sub(r"0x[0-9a-f]+", "0x...", text)
    text = re.sub(r"\b\d\d:\d\d:\d\d\b", "HH:MM:SS", text)
    text = re.sub(r"\b\d+\.\d{3,}", "SECONDS", text)
    text = re.sub(rf"{re.escape(str(STDLIB_ASYNCIO))}/\w+\.py:\d+", "ASYNCIO", text)
    text = re.sub(r"(?<![\w.])/[\w./-]*/(?=[\w-]+\.py\b)", ".../", text)
    return "\n".join(map(sort_sets, text.splitlines()))


def said(result):
    """Return what is compared of a run, masked."""
    return {"stdout": mask(result.stdout), "stderr": mask(result.stderr), "status": result.returncode}


def compare(pair, *, is_mistake=False):
    """Assert that two runs said the same.

    Where stock asyncio refuses a script because of get_event_loop(), which is so from Python 3.14 on, ours has to run it
    to its end; a script that shows a mistake must fail all the same.
    """
    stock, ours = (future.result() for future in pair)
    if sys.version_info >= (3, 14) and "There is no current event loop" in stock.stderr:
        assert (ours.returncode != 0) == is_mistake, ours.stderr
    else:
        assert said(ours) == said(stock)
