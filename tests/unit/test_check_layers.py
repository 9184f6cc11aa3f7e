"""tools/check_layers.py finds what it is there to find."""

import subprocess
import sys

import pytest
from same_output import ROOT

TOOL = ROOT / "tools" / "check_layers.py"


def check(folder):
    run = subprocess.run([sys.executable, TOOL, folder], capture_output=True, text=True)
    return run.returncode, run.stdout


@pytest.fixture
def tree(tmp_path):
    """A small tree in order; called with a path and a text, it writes one more file."""

    def write(path, text):
        file = tmp_path / "src" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return tmp_path / "src"

    write("base/heap.h", "#include <stddef.h>\n")
    write("base/heap.c", '#include "heap.h"\n')
    write("py/compat.h", "#include <Python.h>\n#if PY_VERSION_HEX >= 0x030c0000\n#endif\n")
    write("core/loop.h", '#include "py/compat.h"\n#include "base/heap.h"\n')
    write("module.c", '#include "core/loop.h"\n')
    return write


def test_order_is_accepted(tree):
    assert check(tree("core/loop.c", '#include "core/loop.h"\n')) == (0, "layers: in order\n")


def test_the_sources_are_in_order():
    assert check(ROOT / "src") == (0, "layers: in order\n")


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        (
            "base/bad.c",
            '#include "core/loop.h"\n',
            "base/bad.c:1: includes core/loop.h is to the right of it",
        ),
        (
            "base/bad.h",
            '#include "../core/loop.h"\n',
            "base/bad.h:1: includes core/loop.h is to the right of it",
        ),
        ("core/bad.c", '\n  # include "module.c"\n', "core/bad.c:2: includes module.c is to the right of it"),
        ("base/bad.c", "#include <Python.h>\n", "base/bad.c:1: includes Python.h: base is plain C"),
        ("io/bad.c", '#include "structmember.h"\n', "io/bad.c:1: includes structmember.h: io is plain C"),
        ("core/bad.c", '#include "nowhere.h"\n', "core/bad.c:1: includes nowhere.h: no such file"),
        (
            "core/bad.c",
            "#if PY_VERSION_HEX > 1\n",
            "core/bad.c:1: Python versions are told apart in py/compat.h",
        ),
        (
            "py/bad.h",
            "#elif defined(X) && \\\nPY_MINOR_VERSION\n",
            "py/bad.h:1: Python versions are told apart",
        ),
        ("other/bad.c", "", "other/bad.c: is in none of the folders"),
        ("bad.c", "", "bad.c: is in none of the folders"),
    ],
)
def test_disorder_is_found(tree, path, text, complaint):
    status, output = check(tree(path, text))
    assert status == 1
    assert complaint in output
    assert len(output.splitlines()) == 1


def test_missing_folder(tmp_path):
    assert check(tmp_path / "missing")[0] == 2
