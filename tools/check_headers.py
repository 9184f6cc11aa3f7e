"""Check that each header of src compiles alone, so that it can be included first.

    python tools/check_headers.py [FOLDER]     FOLDER: the sources, src by default

base and io are compiled without Python's include folder. The compiler is $CC, or cc. Exits with 1 if one fails.
"""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor

FLAGS = "-std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Werror -Wno-missing-field-initializers -fsyntax-only -x c -".split()


def compile_alone(src: pathlib.Path, header: pathlib.Path) -> str:
    """Return the compiler's complaints about a file that does nothing but include header."""
    path = header.relative_to(src)
    command = [*shlex.split(os.environ.get("CC", "cc")), f"-I{src}"]
    if path.parts[0] not in ("base", "io"):
        command.append("-isystem" + sysconfig.get_paths()["include"])
    run = subprocess.run([*command, *FLAGS], input=f'#include "{path}"\n', capture_output=True, text=True)
    return run.stderr if run.returncode else ""


def main() -> int:
    src = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1] / "src"
    headers = sorted(src.rglob("*.h"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = [text for text in pool.map(lambda header: compile_alone(src, header), headers) if text]
    print("".join(complaints) or f"headers: each of {len(headers)} compiles alone")
    return 1 if complaints or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
