"""What setup.py says where something is missing, and what tools/build_wheels.py tells setuptools of other Pythons."""

import importlib
import os
import platform
import subprocess
import sys

import pytest
from same_output import ROOT

# A compiler that finds no headers of Python.
WITHOUT_PYTHON = """#!/bin/sh
for word; do
    shift
    case $word in -I*) ;; *) set -- "$@" "$word" ;; esac
done
exec cc -I src "$@"
"""
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
HOW = f"which 'apt install gcc libc6-dev python{VERSION}-dev' installs on Debian and Ubuntu"


def build(tmp_path, compiler):
    """Run setup.py with a compiler and return the status and the last line of what it says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASYNCIO_C_")}
    run = subprocess.run(
        [
            sys.executable,
            "setup.py",
            "-q",
            "build_ext",
            "--build-temp",
            tmp_path / "temp",
            "--build-lib",
            tmp_path / "lib",
        ],
        cwd=ROOT,
        env={**environment, "CC": compiler},
        capture_output=True,
        text=True,
    )
    return run.returncode, run.stderr.splitlines()[-1]


@pytest.fixture
def without_python(tmp_path):
    script = tmp_path / "cc"
    script.write_text(WITHOUT_PYTHON)
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize(
    "compiler, missing",
    [
        ("no-such-compiler", "a C compiler (no-such-compiler)"),
        ("cc -nostdinc", "the C library's headers (stdio.h)"),
        ("without_python", "Python's headers (Python.h)"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(tmp_path, without_python, compiler, missing):
    status, last = build(tmp_path, compiler.replace("without_python", without_python))
    assert status == 1
    assert last.startswith(f"asyncio_c: {missing} cannot be found, {HOW}")
    assert last.count(". ") == 0 and "Fedora" in last and "Alpine" in last and "conda" in last


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module("build_wheels")


def test_tags_and_names_are_those_of_the_target(tool):
    by_tag = {target.tag: target for target in tool.TARGETS}
    assert len(by_tag) == len(tool.TARGETS) == 4 * len(tool.VERSIONS)
    glibc = by_tag["cp311-cp311-manylinux2014_aarch64"]
    assert glibc.zig == "aarch64-linux-gnu.2.17" and glibc.soabi == "cpython-311-aarch64-linux-gnu"
    musl = by_tag["cp313-cp313t-musllinux_1_2_x86_64"]
    assert musl.zig == "x86_64-linux-musl" and musl.soabi == "cpython-313t-x86_64-linux-musl"


def test_setuptools_builds_for_the_python_that_it_is_told_of(tool, tmp_path):
    headers = tmp_path / "include"
    headers.mkdir()
    environment = tool.cross_environment(tool.Target("3.15", "aarch64", "musl"), headers, tmp_path)
    program = """
import sysconfig
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext
command = build_ext(Distribution({"ext_modules": [Extension("a.b", [])]}))
command.ensure_finalized()
print(sysconfig.get_platform())
print(command.get_ext_filename("a.b"))
print(command.include_dirs[-1])
"""
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [
        "linux-aarch64",
        "a/b.cpython-315-aarch64-linux-musl.so",
        str(headers),
    ]


def test_headers_of_debian_are_those_of_this_machine(tool, tmp_path):
    """Its pyconfig.h includes one of many, by the machine that is compiled for; ours has to serve all of them."""
    usual, multiarch = tmp_path / "python3.15", tmp_path / f"{platform.machine()}-linux-gnu" / "python3.15"
    for folder, text in (
        (usual, "#include <x86_64-linux-gnu/python3.15/pyconfig.h>\n"),
        (multiarch, "#define X 1\n"),
    ):
        folder.mkdir(parents=True)
        (folder / "pyconfig.h").write_text(text)
    (usual / "Python.h").write_text("")
    copy = tool.copy_headers(usual, tmp_path / "copy")
    assert (copy / "pyconfig.h").read_text() == "#define X 1\n" and (copy / "Python.h").exists()
