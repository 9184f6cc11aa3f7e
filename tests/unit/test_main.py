"""python -m asyncio_c: a program runs as under python itself. Each case runs under both and is compared."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import zipfile

import pytest
from same_output import drop_asyncio_frames, environment, run

import asyncio_c
from asyncio_c.__main__ import split_command_line

SHOW = """\
import asyncio, sys
print(sorted((name, value if name != "__loader__" else type(value)) for name, value in globals().items()
             if name not in ("__builtins__", "asyncio", "sys", "__spec__")))
print(__spec__ and __spec__.name, __builtins__.__name__)
print(sys.argv, sys.path[0], sys.modules["__main__"].__dict__ is globals())
"""
WHICH = """\
import asyncio
loop = asyncio.new_event_loop()
print(asyncio.Task.__module__, type(loop).__module__)
loop.close()
"""


def both(*arguments, folder, stdin=""):
    """Run a command line under python and under python -m asyncio_c; return the two results."""
    stock = run(*arguments, folder=folder, stdin=stdin)
    ours = run("-m", "asyncio_c", *arguments, folder=folder, stdin=stdin)
    return stock, ours


def said(result):
    return result.stdout, re.sub(r"0x[0-9a-f]+", "0x...", result.stderr), result.returncode


def assert_same(*arguments, folder, stdin=""):
    stock, ours = both(*arguments, folder=folder, stdin=stdin)
    assert said(ours) == said(stock)
    return ours


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


# ---- the namespace and sys ----


@pytest.mark.parametrize("script", ["show.py", "./show.py", "sub/show.py", "sub/../show.py", "link.py"])
def test_script_sees_what_it_would_see(script, write, tmp_path):
    write("show.py", SHOW)
    write("sub/show.py", SHOW)
    (tmp_path / "link.py").symlink_to("sub/show.py")
    assert_same(script, "a", "-v", "--loop-only", "-", folder=tmp_path)


@pytest.mark.parametrize("program", ["show.py", "-", "-s.py"])
def test_end_of_the_options(program, write, tmp_path):
    write("show.py", SHOW)
    write("-s.py", SHOW)
    assert_same("--", program, "a", folder=tmp_path, stdin=SHOW)


def test_absolute_path(write, tmp_path):
    assert_same(write("show.py", SHOW), folder=tmp_path)


def test_module(write, tmp_path):
    write("show.py", SHOW)
    write("package/__init__.py", "")
    write("package/__main__.py", SHOW)
    assert_same("-m", "show", "a", "-m", folder=tmp_path)
    assert_same("-mshow", folder=tmp_path)
    assert_same("-m", "package", folder=tmp_path)
    assert_same("-m", "package.missing", folder=tmp_path)


@pytest.mark.parametrize("arguments", [["-c", SHOW, "a", "-c"], ["-c" + SHOW], ["-c", "-1"], ["-c", ""]])
def test_code(arguments, tmp_path):
    assert_same(*arguments, folder=tmp_path)


def test_indented_code(tmp_path):
    assert_same("-c", "\n  print(1)\n  print(2)\n", folder=tmp_path)


def test_standard_input(tmp_path):
    assert_same("-", "a", folder=tmp_path, stdin=SHOW)


def test_folder_and_zip_file(write, tmp_path):
    write("app/__main__.py", SHOW + "import beside; print(beside.__name__)\n")
    write("app/beside.py", "")
    write("empty/other.py", "")
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("__main__.py", SHOW)
    assert_same("app", "a", folder=tmp_path)
    assert_same("app.zip", "a", folder=tmp_path)
    assert_same("empty", folder=tmp_path)


def test_compiled_script(write, tmp_path):
    source = write("show.py", SHOW)
    run("-c", f"import py_compile; py_compile.compile({str(source)!r}, 'show.pyc')", folder=tmp_path)
    assert_same("show.pyc", folder=tmp_path)


def test_missing_script(tmp_path):
    assert assert_same("missing.py", folder=tmp_path).returncode == 2


def test_what_main_defines_can_be_pickled(write, tmp_path):
    write(
        "point.py",
        "import pickle\nclass Point: pass\nprint(type(pickle.loads(pickle.dumps(Point()))) is Point)\n",
    )
    assert assert_same("point.py", folder=tmp_path).stdout == "True\n"


def test_future_imports_of_ours_do_not_reach_the_program(tmp_path):
    assert_same("-c", "def f(x: 1 + 1): pass\nprint(f.__annotations__)", folder=tmp_path)


def test_safe_path(write, tmp_path):
    write("sub/show.py", SHOW)
    write("app/__main__.py", SHOW)
    for program in ("sub/show.py", "app"):
        stock = run("-P", program, folder=tmp_path)
        ours = run("-P", "-m", "asyncio_c", program, folder=tmp_path)
        assert said(ours) == said(stock)


def test_encoding_declaration(tmp_path):
    (tmp_path / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))\n")
    assert_same("latin.py", folder=tmp_path)


# ---- how it ends ----


@pytest.mark.parametrize(
    "ending",
    [
        "1 / 0",
        "def f():\n    1 / 0\nf()",
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise KeyError from error",
        "raise SystemExit",
        "raise SystemExit(3)",
        "raise SystemExit(None)",
        "raise SystemExit('a message')",
        "raise SystemExit(b'bytes')",
        "def f(:",
        "import atexit; atexit.register(print, 'at exit'); 1 / 0",
        "import sys; sys.excepthook = lambda kind, value, tb: print(kind, value, tb.tb_frame.f_code.co_name); 1 / 0",
        "import threading; threading.Timer(0, print, ['in a thread']).start()",
        "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()",
        "import sys; import atexit\natexit.register(lambda: print(sys.last_traceback.tb_lineno, sys.last_value))\n1 / 0",
        "raise ExceptionGroup('group', [ValueError(1), TypeError(2)])",
        "import sys; sys.exit(1 / 0)",
    ],
)
def test_ending(ending, write, tmp_path):
    write("ending.py", ending)
    write("helper.py", "import ending")
    assert_same("ending.py", folder=tmp_path)
    assert_same("-m", "ending", folder=tmp_path)
    assert_same("-m", "helper", folder=tmp_path)
    assert_same("-c", ending, folder=tmp_path)
    assert_same("-", folder=tmp_path, stdin=ending)


FAILURES = {
    "uncaught": """
import asyncio
async def inner():
    await asyncio.sleep(0)
    raise ValueError("no")
async def main():
    async with asyncio.timeout(5):
        await asyncio.wait_for(inner(), 3)
asyncio.run(main())
""",
    "uncaught group": """
import asyncio
async def inner():
    raise KeyError(1)
async def main():
    async with asyncio.TaskGroup() as group:
        group.create_task(inner())
asyncio.run(main())
""",
    "in a callback": """
import asyncio
def fail():
    1 / 0
async def main():
    asyncio.get_running_loop().call_soon(fail)
    await asyncio.sleep(0)
asyncio.run(main())
""",
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("debug", [False, True])
def test_traceback_of_an_exception(failure, debug, write, tmp_path):
    """It has no frame of runpy and of ours below the program; in debug mode what tells where something was made has them."""
    script = write("fails.py", FAILURES[failure])
    options = ["-X", "dev"] if debug else []
    stock = run(*options, script, folder=tmp_path)
    ours = run(*options, "-m", "asyncio_c", script, folder=tmp_path)
    made_here = re.compile(r'File "<frozen runpy>|File "[^"]*/asyncio_c/__main__.py"')
    assert "Traceback" in ours.stderr
    if failure != "in a callback" or not debug:
        assert not made_here.search(ours.stderr)
    else:
        assert made_here.search(ours.stderr) and not made_here.search(ours.stderr.partition("Traceback")[2])
    texts = [re.sub(r"(?m)^ *\| ", "", result.stderr) for result in (stock, ours)]  # of groups
    # Nor how long a callback took, which debug mode tells where the machine is busy.
    texts = [re.sub(r' *File "<frozen runpy>.*\n|(?m:^Executing <.* took .*\n)', "", text) for text in texts]
    texts = [drop_asyncio_frames(text) for text in texts]
    assert texts[0] == texts[1]
    assert ours.returncode == stock.returncode


def test_unhandled_keyboard_interrupt_ends_by_the_signal(write, tmp_path):
    write("interrupted.py", "import atexit\natexit.register(print, 'at exit')\nraise KeyboardInterrupt\n")
    assert assert_same("interrupted.py", folder=tmp_path).returncode == -signal.SIGINT
    assert assert_same("-m", "interrupted", folder=tmp_path).returncode == -signal.SIGINT


def test_interrupt_cancels_the_main_task(write, tmp_path):
    script = write(
        "waits.py",
        "import asyncio\n"
        "async def main():\n"
        "    try:\n"
        "        print('ready', flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "    finally:\n"
        "        print('cleaned up', flush=True)\n"
        "asyncio.run(main())\n",
    )
    command = [sys.executable, "-m", "asyncio_c", str(script)]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert out == "cleaned up\n"
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode == -signal.SIGINT


# ---- our own command line ----


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", ([], "", "", [])),
        ("s.py", ([], "script", "s.py", [])),
        (
            "--loop-only s.py --loop-only -c x",
            (["--loop-only"], "script", "s.py", ["--loop-only", "-c", "x"]),
        ),
        ("-m mod -v", ([], "-m", "mod", ["-v"])),
        ("-mmod -v", ([], "-m", "mod", ["-v"])),
        ("-c code x", ([], "-c", "code", ["x"])),
        ("- x", ([], "-", "", ["x"])),
        ("-- s.py -m", ([], "script", "s.py", ["-m"])),
        ("-- -c", ([], "script", "-c", [])),
        ("-- - x", ([], "-", "-", ["x"])),
        ("-c", ([], "-c", None, [])),
        ("--version", (["--version"], "", "", [])),
    ],
)
def test_split_command_line(line, expected):
    assert split_command_line(line.split()) == expected


def test_everything_is_native(tmp_path):
    result = run("-m", "asyncio_c", "-c", WHICH, folder=tmp_path)
    task_module, loop_module = result.stdout.split()
    assert task_module == asyncio_c.Task.__module__
    assert loop_module.startswith("asyncio_c")


def test_loop_only(tmp_path):
    task_module, loop_module = run(
        "-m", "asyncio_c", "--loop-only", "-c", WHICH, folder=tmp_path
    ).stdout.split()
    assert task_module == "_asyncio"
    assert loop_module.startswith("asyncio_c")


def test_version_and_help(tmp_path):
    assert (
        run("-m", "asyncio_c", "--version", folder=tmp_path).stdout == f"asyncio_c {asyncio_c.__version__}\n"
    )
    shown = run("-m", "asyncio_c", "--help", folder=tmp_path)
    assert "--loop-only" in shown.stdout and shown.returncode == 0


@pytest.mark.parametrize("arguments", [["--no-such-option", "s.py"], ["-c"], ["-m"]])
def test_mistakes_exit(arguments, tmp_path):
    result = run("-m", "asyncio_c", *arguments, folder=tmp_path)
    assert result.returncode != 0 and "usage:" in result.stderr and "Traceback" not in result.stderr


def test_without_a_program_there_is_the_asyncio_repl(tmp_path):
    lines = "await asyncio.sleep(0, 'slept')\ntype(asyncio.get_running_loop()).__module__\n"
    result = run("-m", "asyncio_c", folder=tmp_path, stdin=lines)
    assert "'slept'" in result.stdout, result.stderr
    assert "'asyncio_c" in result.stdout, result.stderr


@pytest.mark.parametrize(
    "code",
    [
        "loop = asyncio.get_event_loop(); print(loop is asyncio.get_event_loop(), loop.is_running())",
        "async def f(): return 1\nfuture = asyncio.ensure_future(f())\n"
        "print(future.get_loop().run_until_complete(future))",
    ],
)
def test_a_loop_is_there_before_any_runs(code, tmp_path):
    result = run("-W", "error", "-m", "asyncio_c", "-c", "import asyncio\n" + code, folder=tmp_path)
    if (3, 12) <= sys.version_info < (3, 14):  # asyncio's own deprecation, which belongs to the script
        assert "DeprecationWarning: There is no current event loop" in result.stderr
    else:
        assert (result.stderr, result.returncode) == ("", 0)


def test_the_package_is_found_as_these_tests_find_it():
    assert pathlib.Path(os.path.dirname(asyncio_c.__file__)).parent == pathlib.Path(
        environment()["PYTHONPATH"]
    )
