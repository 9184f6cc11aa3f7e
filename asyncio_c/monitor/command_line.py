"""python -m asyncio_c --timeline: record a whole program, and show the timeline when it has ended."""

from __future__ import annotations

import atexit
import os
import sys

from . import timeline_svg as timeline_svg  # see record_until_exit
from . import timeline_text as timeline_text
from . import timeline_trace as timeline_trace
from .recording import Recording, check_suffix, record


def check_program(path: str) -> None:
    """Exit with 2 if what is taken for the script is the file that was meant to be written: --timeline x.svg for --timeline=x.svg."""
    try:
        check_suffix(path)
    except ValueError:
        return
    if not os.path.exists(path):
        print(
            f"python -m asyncio_c: no program {path!r}; to write the timeline to it: --timeline={path}",
            file=sys.stderr,
        )
        raise SystemExit(2)


def record_until_exit(path: str) -> None:
    """Record every loop until the interpreter ends; then write the timeline to a file, or to stderr where `path` is "".

    However the program ends, its exit status stays what it is. All that draws is imported by now: where a KeyboardInterrupt has
    ended the program, the interpreter is to end by SIGINT, which it forgets if a module is imported then that executes strings,
    as those with dataclasses do. Exits with 2 for a file of which the suffix says nothing.
    """
    if path:
        try:
            check_suffix(path)
        except ValueError as error:
            print(f"python -m asyncio_c: --timeline: {error}", file=sys.stderr)
            raise SystemExit(2) from None
    recorder = record()
    recording = recorder.__enter__()
    process = os.getpid()

    # At the very end, behind a traceback, and when no thread runs a loop any more.
    def end() -> None:
        if os.getpid() == process:
            recorder.__exit__()
            _show(recording, path)

    atexit.register(end)


def _show(recording: Recording, path: str) -> None:
    try:
        if path:
            recording.save(path)
            print(f"asyncio_c: the timeline is in {path}", file=sys.stderr)
        elif sys.stderr is not None:
            print(recording.text(_width(), _has_colours(), not _has_boxes()), file=sys.stderr)
    except OSError as error:
        try:
            print(f"asyncio_c: the timeline cannot be written: {error}", file=sys.stderr)
        except OSError:
            pass  # nobody reads what the program writes any more


def _width() -> int:
    """Return the columns of the terminal, or what COLUMNS says."""
    try:
        return int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        pass
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 100


def _has_colours() -> bool:
    """Return whether to use colours: as NO_COLOR and FORCE_COLOR say, or where stderr is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _has_boxes() -> bool:
    try:
        "█┃─░✓✗⊘…▁←┴╌".encode(sys.stderr.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
