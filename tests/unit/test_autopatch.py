"""ASYNCIO_C=1 python script.py: the .pth file, in a virtual environment of its own."""

import subprocess
import sys
import venv

import pytest
from same_output import ROOT, environment

import asyncio_c

WHICH = """\
import asyncio
loop = asyncio.new_event_loop()
print(asyncio.Task.__module__, type(loop).__module__.partition('.')[0])
loop.close()
"""
NATIVE = asyncio_c.Task.__module__


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The python of an environment that holds the .pth file and finds the package."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python3.*/site-packages")
    (site / "asyncio_c.pth").write_text((ROOT / "asyncio_c.pth").read_text())
    (site / "a.pth").write_text(f"{ROOT}\n")
    return folder / "bin" / "python"


def run(python, value, code=WHICH, *options):
    return run_command([python, *options, "-c", code], value)


def run_command(command, value):
    """Run a command where ASYNCIO_C is `value`, or is unset."""
    env = {name: value for name, value in environment().items() if name != "PYTHONPATH"}
    if value is not None:
        env["ASYNCIO_C"] = value
    return subprocess.run(command, env=env, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "_asyncio asyncio"),
        ("", "_asyncio asyncio"),
        ("0", "_asyncio asyncio"),
        ("loop", "_asyncio asyncio_c"),
        ("1", f"{NATIVE} asyncio_c"),
        ("yes", f"{NATIVE} asyncio_c"),
        ("off", "_asyncio asyncio"),
    ],
)
def test_value(python, value, expected):
    result = run(python, value)
    assert (result.stdout.strip(), result.stderr) == (expected, "")


def test_what_is_no_value_is_told_and_changes_nothing(python):
    result = run(python, "loops")
    assert result.stdout.strip() == "_asyncio asyncio"
    assert "RuntimeWarning: ASYNCIO_C=loops is none of 1, loop and 0: asyncio stays as it is" in result.stderr


@pytest.mark.parametrize("value", [None, "", "0", "off", "False", "no"])
def test_nothing_is_imported_while_nothing_is_asked_for(python, value):
    code = "import sys; print([name for name in sys.modules if 'asyncio' in name])"
    result = run(python, value, code)
    assert (result.stdout, result.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("option", "expected"),
    [("-E", f"{NATIVE} asyncio_c"), ("-I", f"{NATIVE} asyncio_c"), ("-S", "_asyncio asyncio")],
)
def test_options_of_the_interpreter(python, option, expected):
    """-E and -I ignore variables whose names begin with PYTHON, and no other; -S leaves .pth files alone."""
    assert run(python, "1", WHICH, option).stdout.strip() == expected


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("by", ["the variable", "python -m asyncio_c"])
def test_children_of_multiprocessing(python, tmp_path, method, by):
    """The variable reaches all children; what was patched, only those that are copies of the process."""
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, sys\n"
        f"def child():\n    exec({WHICH!r}, {{}})\n    sys.stdout.flush()\n"
        "if __name__ == '__main__':\n"
        f"    process = multiprocessing.get_context({method!r}).Process(target=child)\n"
        "    process.start()\n    process.join()\n    sys.exit(process.exitcode)\n"
    )
    if by == "the variable":
        result = run_command([python, script], "1")
    else:
        result = run_command([python, "-m", "asyncio_c", script], None)
    is_native = by == "the variable" or method == "fork"
    assert (result.stdout.strip(), result.stderr) == (
        f"{NATIVE} asyncio_c" if is_native else "_asyncio asyncio",
        "",
    )


def test_nothing_warns(python):
    assert run(python, "1", WHICH, "-W", "error").stderr == ""


def test_the_line_is_what_site_runs():
    (line,) = (ROOT / "asyncio_c.pth").read_text().splitlines()
    assert line.startswith("import ")


@pytest.mark.skipif(
    sys.version_info < (3, 15), reason="import lines of .pth files are deprecated since Python 3.15"
)
def test_it_is_still_run_where_deprecated(python):
    assert run(python, "1", WHICH, "-W", "always").stdout.strip() == f"{NATIVE} asyncio_c"
