"""Build of the extension module asyncio_c._core; everything else is declared in pyproject.toml.

Environment variables:

    ASYNCIO_C_DEBUG=1    no optimisation, debug symbols, assertions, warnings are errors
    ASYNCIO_C_STRESS=1   the same, and what is rare happens often: tiny rings, no freelists, short system calls
    ASYNCIO_C_WERROR=1   warnings are errors
"""

import glob
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor

if not sys.platform.startswith("linux"):
    raise SystemExit("asyncio_c: only Linux is supported; this platform is %s." % sys.platform)
if sys.version_info < (3, 11) or sys.implementation.name != "cpython":
    raise SystemExit(
        "asyncio_c: CPython 3.11 or newer is required; this is %s %d.%d."
        % ((sys.implementation.name,) + sys.version_info[:2])
    )

try:
    from setuptools import __version__ as SETUPTOOLS
except ImportError:  # Python brings none from 3.12 on
    SETUPTOOLS = "0"

if int(SETUPTOOLS.split(".")[0]) < 77:
    raise SystemExit(
        "asyncio_c: setuptools 77 or newer is required to run setup.py; here is %s. 'pip install .' brings its own; to work "
        "on the sources, run pip install -e '.[dev]'." % (SETUPTOOLS if SETUPTOOLS != "0" else "none")
    )

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel
from setuptools.errors import CompileError


def is_set(variable):
    return os.environ.get(variable, "") not in ("", "0")


STRESS = is_set("ASYNCIO_C_STRESS")
DEBUG = STRESS or is_set("ASYNCIO_C_DEBUG")
WERROR = DEBUG or is_set("ASYNCIO_C_WERROR")
PTH = "asyncio_c.pth"

# -Wextra wants every slot of a static table named; the idiom of the C API is to leave the tail zero.
CFLAGS = [
    "-std=c11",
    "-D_DEFAULT_SOURCE",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Wno-missing-field-initializers",
]
CFLAGS += ["-O0", "-g", "-UNDEBUG"] if DEBUG else ["-O3"]
# Hardening that costs the core's loops nothing, counted in instructions. _FORTIFY_SOURCE needs optimisation.
CFLAGS += ["-fstack-protector-strong"]
CFLAGS += [] if DEBUG else ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
CFLAGS += ["-fcf-protection"] if sysconfig.get_platform() == "linux-x86_64" else []
LDFLAGS = ["-Wl,-z,relro,-z,now"]
CFLAGS += ["-Werror"] if WERROR else []
CFLAGS += ["-DASYNCIO_C_STRESS"] if STRESS else []


def refuse_without(missing):
    """End with one sentence that says what is missing and how to install it; with None do nothing."""
    if missing is not None:
        version = "%d.%d" % sys.version_info[:2]
        raise SystemExit(
            "asyncio_c: %s cannot be found, which 'apt install gcc libc6-dev python%s-dev' installs on Debian and Ubuntu, 'dnf "
            "install gcc python3-devel' on Fedora, 'apk add gcc musl-dev python3-dev' on Alpine and 'conda install -c "
            "conda-forge c-compiler' in a conda environment." % (missing, version)
        )


class BuildExt(build_ext):
    """build_ext with link-time optimisation where the compiler has it and sources compiled in parallel."""

    def run(self):
        # Objects carry no trace of the flags they were made with, so a switch between the debug and the release
        # build would otherwise leave the old ones in place.
        folder = pathlib.Path(self.build_temp).parent
        stamp = folder / ("flags" + sysconfig.get_config_var("EXT_SUFFIX"))
        flags = " ".join([*CFLAGS, os.environ.get("CC", ""), os.environ.get("CFLAGS", "")])
        if not stamp.exists() or stamp.read_text() != flags:
            self.force = True
        super().run()
        folder.mkdir(parents=True, exist_ok=True)
        stamp.write_text(flags)

    def build_extension(self, ext):
        try:
            self.compile_and_link(ext)
        except (CompileError, OSError):
            refuse_without(self.missing())
            raise

    def compile_and_link(self, ext):
        if not DEBUG:
            lto = self.link_time_optimisation()
            ext.extra_compile_args += lto
            ext.extra_link_args += lto and lto + ["-O3"]
        compile_serially = self.compiler.compile

        def compile_in_parallel(sources, **options):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                objects = pool.map(lambda source: compile_serially([source], **options), sources)
                return [name for names in objects for name in names]

        self.compiler.compile = compile_in_parallel
        super().build_extension(ext)

    def missing(self):
        """Return what there is not that every build needs, or None."""
        if shutil.which(self.compiler.compiler_so[0]) is None:
            return "a C compiler (%s)" % self.compiler.compiler_so[0]
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "probe.c")
            for header, what in (("stdio.h", "the C library's headers"), ("Python.h", "Python's headers")):
                with open(source, "w") as file:
                    file.write("#include <%s>\n" % header)
                try:
                    self.compiler.compile([source], output_dir=folder, extra_postargs=["-w"])
                except CompileError:
                    return "%s (%s)" % (what, header)
        return None

    def link_time_optimisation(self):
        """Return the flags with which this compiler and linker can optimise across files, or []."""
        with tempfile.TemporaryDirectory() as folder:
            source, target = os.path.join(folder, "probe.c"), os.path.join(folder, "probe")
            with open(source, "w") as file:
                file.write("int probe(void) { return 0; }\n")
            for flag in ("-flto=auto", "-flto"):
                commands = [
                    [*self.compiler.compiler_so, "-Werror", "-O3", flag, "-c", source, "-o", target + ".o"],
                    [*self.compiler.linker_so, "-O3", flag, target + ".o", "-o", target + ".so"],
                ]
                if all(subprocess.run(command, capture_output=True).returncode == 0 for command in commands):
                    return [flag]
        return []


class BuildPy(build_py):
    """build_py that also puts the .pth file of the ASYNCIO_C variable beside the package."""

    def run(self):
        super().run()
        if not self.editable_mode:
            self.mkpath(self.build_lib)
            self.copy_file(PTH, os.path.join(self.build_lib, PTH))

    def get_outputs(self, include_bytecode=True):
        return super().get_outputs(include_bytecode) + [os.path.join(self.build_lib, PTH)]


class EditableWheel(editable_wheel):
    """editable_wheel that carries the same .pth file."""

    # A private seam, the only one there is: should a release of setuptools drop it, an editable installation lacks
    # ASYNCIO_C=1 and nothing else.
    def _run_build_commands(self, dist_name, unpacked_wheel, *rest):
        result = super()._run_build_commands(dist_name, unpacked_wheel, *rest)
        shutil.copy(PTH, os.fspath(unpacked_wheel))
        return result


setup(
    ext_modules=[
        Extension(
            "asyncio_c._core",
            sources=sorted(glob.glob("src/**/*.c", recursive=True)),
            depends=sorted(glob.glob("src/**/*.h", recursive=True)),
            include_dirs=["src"],
            extra_compile_args=CFLAGS,
            extra_link_args=LDFLAGS,
        )
    ],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy, "editable_wheel": EditableWheel},
)
