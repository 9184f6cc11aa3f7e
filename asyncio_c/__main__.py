"""python -m asyncio_c: run a script, a module or a piece of code under patch(), as python itself would have.

The program gets a __main__ module of its own, made here and put in sys.modules in place of this file's, so that nothing
of ours is visible in it and what it defines can be pickled. Files and strings are executed here; modules, directories
and zip files are handed to the function of runpy that the interpreter uses for them.
"""

from __future__ import annotations

import argparse
import builtins
import importlib.machinery
import io
import linecache
import os
import pkgutil
import runpy
import sys
import textwrap
import types
from typing import Any

import asyncio_c
from asyncio_c.monitor import commands

USAGE = (
    "python -m asyncio_c [--loop-only] [--timeline[=FILE]] [-c code | -m module | script | -] [argument ...]"
)


def split_command_line(arguments: list[str]) -> tuple[list[str], str, str | None, list[str]]:
    """Return our own options, the kind of program, the program, and its arguments.

    The kind is "-c", "-m", "script", "-" for the standard input, or "" for the interactive prompt; the program is None if
    it is missing. Everything behind it belongs to it, also what looks like an option of ours; python reads its command
    line in the same way.
    """
    for index, argument in enumerate(arguments):
        own, rest = arguments[:index], arguments[index + 1 :]
        if argument in ("-c", "-m"):
            return own, argument, rest[0] if rest else None, rest[1:]
        if argument.startswith(("-c", "-m")):
            return own, argument[:2], argument[2:], rest
        if argument == "--" and rest:
            return own, "-" if rest[0] == "-" else "script", rest[0], rest[1:]
        if argument == "-":
            return own, "-", "", rest
        if not argument.startswith("-"):
            return own, "script", argument, rest
    return arguments, "", "", []


def is_command(arguments: list[str]) -> bool:
    """Return whether `ps` or `top` comes first, and there is no file of that name: that would be a script."""
    return bool(arguments) and arguments[0] in commands.COMMANDS and not os.path.exists(arguments[0])


def read_options(options: list[str]) -> argparse.Namespace:
    """Read our own options; --help, --version and mistakes exit."""
    parser = argparse.ArgumentParser(
        prog="python -m asyncio_c",
        usage=USAGE,
        description="Run a Python program on the C event loop, with the native Task, Future, sleep, gather and wait in "
        "place of asyncio's. Without a program: the asyncio REPL.",
        epilog="A program is given as to python itself: -c code, -m module, the path of a script, or - for the standard "
        "input. What follows is its own. `python -m asyncio_c ps` and `top` look at other processes, where there is no "
        "script of that name; see their --help.",
    )
    parser.add_argument(
        "--loop-only", action="store_true", help="the C loop alone; asyncio's names stay the stock ones"
    )
    parser.add_argument(
        "--timeline",
        nargs="?",
        const="",
        metavar="FILE",
        help="show on stderr what the tasks did when the program has ended; with =FILE write it to a file: .svg, .html, .txt, or .json for Perfetto",
    )
    parser.add_argument("--version", action="version", version=f"asyncio_c {asyncio_c.__version__}")
    return parser.parse_args(options)


def new_main(**attributes: Any) -> dict[str, Any]:
    """Put a fresh __main__ module in sys.modules and return its namespace."""
    module = types.ModuleType("__main__")
    module.__dict__.update(
        __builtins__=builtins, __loader__=importlib.machinery.BuiltinImporter, **attributes
    )
    if sys.version_info < (3, 14):
        module.__annotations__ = {}
    sys.modules["__main__"] = module
    return module.__dict__


def set_path0(entry: str) -> None:
    """Replace sys.path[0], which "python -m" has set to the working directory, by the program's."""
    if not sys.flags.safe_path:
        sys.path[0] = entry


def source_attributes(filename: str) -> dict[str, Any]:
    """Return what a __main__ that comes from a file has beyond other modules."""
    attributes: dict[str, Any] = {"__file__": filename}
    if sys.version_info < (3, 15):
        attributes["__cached__"] = None
    return attributes


def read_script(filename: str) -> types.CodeType:
    """Return the code of a source or .pyc file; one that cannot be read exits with 2, as in python."""
    try:
        with io.open_code(filename) as file:
            code: types.CodeType | None = pkgutil.read_code(file)
            if code is None:
                file.seek(0)
                code = compile(file.read(), filename, "exec", dont_inherit=True)
    except OSError as error:
        print(
            f"{sys.executable}: can't open file {filename!r}: [Errno {error.errno}] {error.strerror}",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    return code


def run_script(path: str) -> None:
    if pkgutil.get_importer(path) is not None:  # a directory or a zip file, which safe_path does not keep out
        if sys.flags.safe_path:
            sys.path.insert(0, "")
        sys.path[0] = os.path.abspath(path)
        new_main()
        runpy._run_module_as_main("__main__", False)  # type: ignore[attr-defined]
        return
    filename = os.path.join(os.getcwd(), path)
    set_path0(os.path.dirname(os.path.realpath(path)))
    namespace = new_main(**source_attributes(filename))
    loader = (
        importlib.machinery.SourcelessFileLoader
        if path.endswith(".pyc")
        else importlib.machinery.SourceFileLoader
    )
    namespace["__loader__"] = loader("__main__", filename)
    exec(read_script(filename), namespace)


def run_module(name: str) -> None:
    new_main()
    runpy._run_module_as_main(name)  # type: ignore[attr-defined]


def run_string(source: str | bytes, filename: str, **attributes: Any) -> None:
    set_path0("")
    namespace = new_main(**attributes)
    code = compile(source, filename, "exec", dont_inherit=True)
    # Tracebacks of "-c code" show it since Python 3.13, of which the first releases went by the filename.
    if isinstance(source, str) and hasattr(linecache, "_register_code"):
        key = code if hasattr(linecache, "_interactive_cache") else filename
        linecache._register_code(key, source, filename)
    exec(code, namespace)


def run_code(code: str) -> None:
    run_string(textwrap.dedent(code) if sys.version_info >= (3, 14) else code, "<string>")


def run_stdin() -> None:
    run_string(sys.stdin.buffer.read(), "<stdin>", **source_attributes("<stdin>"))


def hide_own_frames(error: BaseException) -> None:
    """See to it that the interpreter reports error without the frames of this file.

    The exception has to leave through the interpreter all the same: only that gives SystemExit its status, and makes an
    unhandled KeyboardInterrupt end the process by SIGINT after everything has been shut down.
    """
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    hook = sys.excepthook

    def excepthook(kind: type[BaseException], value: BaseException, _: types.TracebackType | None) -> None:
        sys.excepthook = hook
        sys.last_traceback = traceback
        hook(kind, value.with_traceback(traceback), traceback)

    sys.excepthook = excepthook


def run(kind: str, program: str, arguments: list[str]) -> None:
    """Run a program; kind and program are of split_command_line."""
    sys.argv = [program if kind == "script" else kind, *arguments]
    try:
        if kind == "-c":
            run_code(program)
        elif kind == "-m":
            run_module(program)
        elif kind == "-":
            run_stdin()
        elif kind == "script":
            run_script(program)
        else:
            run_module("asyncio")
    except BaseException as error:
        hide_own_frames(error)
        raise


def main(arguments: list[str]) -> None:
    """Do what a command line without the program's name says."""
    options, kind, program, rest = split_command_line(arguments)
    if is_command(arguments):
        raise SystemExit(commands.run(arguments[0], rest))
    own = read_options(options)
    if program is None:
        raise SystemExit(f"Argument expected for the {kind} option\nusage: {USAGE}")
    if own.loop_only:
        asyncio_c.install()
    else:
        asyncio_c.patch()
    if own.timeline is not None:
        from asyncio_c.monitor import command_line

        if kind == "script" and not own.timeline:
            command_line.check_program(program)
        command_line.record_until_exit(own.timeline)
    run(kind, program, rest)


if __name__ == "__main__":
    main(sys.argv[1:])
