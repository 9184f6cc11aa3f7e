"""Check the include order of src: base < io < py < core < flow < sync < net < tls < streams < monitor < module.c.

    python tools/check_layers.py [FOLDER]     FOLDER: the sources, src by default

An include may point to the left or stay in its folder. base and io are plain C and never include Python's headers.
Versions of Python are told apart in py/compat.h and py/compat_threads.h alone. Prints what is wrong, a line each, and exits with 1.
"""

from __future__ import annotations

import pathlib
import re
import sys

LAYERS = ["base", "io", "py", "core", "flow", "sync", "net", "tls", "streams", "monitor"]
WITHOUT_PYTHON = {"base", "io"}
COMPAT = {"py/compat.h", "py/compat_threads.h"}
PYTHON_HEADERS = re.compile(r"(Python|structmember|frameobject|pythread|datetime)\.h$|^(cpython|internal)/")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
VERSION_TEST = re.compile(
    r"^\s*#\s*(if|elif)\b.*\bPY_(VERSION_HEX|MAJOR_VERSION|MINOR_VERSION|MICRO_VERSION)\b"
)


def layer_of(path: str) -> int | None:
    """Return the rank of a path relative to src, or None if it is in no layer."""
    folder, _, rest = path.partition("/")
    if not rest:
        return len(LAYERS) if path == "module.c" else None
    return LAYERS.index(folder) if folder in LAYERS else None


def resolve(src: pathlib.Path, includer: pathlib.Path, name: str) -> str | None:
    """Return the path, relative to src, of the file that #include "name" means; None if there is none."""
    for folder in (includer.parent, src):
        target = (folder / name).resolve()
        if target.is_file() and target.is_relative_to(src):
            return target.relative_to(src).as_posix()
    return None


def check_include(src: pathlib.Path, file: pathlib.Path, bracket: str, name: str) -> str | None:
    """Return what is wrong with one include of file, or None."""
    path = file.relative_to(src).as_posix()
    own = layer_of(path)
    target = resolve(src, file, name) if bracket == '"' else None
    if target is None:
        if PYTHON_HEADERS.search(name):
            if path.partition("/")[0] in WITHOUT_PYTHON:
                return f"{name}: {path.partition('/')[0]} is plain C, without Python's headers"
        elif bracket == '"':
            return f"{name}: no such file in {src.name}"
        return None
    rank = layer_of(target)
    if rank is None:
        return f"{target} is in none of the folders {' '.join(LAYERS)}"
    if own is not None and rank > own:
        return f"{target} is to the right of it in {' < '.join(LAYERS)}"
    return None


def logical_lines(text: str) -> list[tuple[int, str]]:
    """Return (line number, text) with continued lines joined to the one that they continue."""
    lines: list[tuple[int, str]] = []
    continues = False
    for number, line in enumerate(text.splitlines(), 1):
        if continues:
            lines[-1] = (lines[-1][0], lines[-1][1] + line.removesuffix("\\"))
        else:
            lines.append((number, line.removesuffix("\\")))
        continues = line.endswith("\\")
    return lines


def problems(src: pathlib.Path) -> list[str]:
    """Return a line for each violation under src."""
    src = src.resolve()
    found = []
    for file in sorted([*src.rglob("*.c"), *src.rglob("*.h")]):
        path = file.relative_to(src).as_posix()
        if layer_of(path) is None:
            found.append(f"{path}: is in none of the folders {' '.join(LAYERS)}")
        for number, line in logical_lines(file.read_text(encoding="utf-8")):
            if VERSION_TEST.match(line) and path not in COMPAT:
                found.append(
                    f"{path}:{number}: Python versions are told apart in {' and '.join(sorted(COMPAT))} alone"
                )
            include = INCLUDE.match(line)
            wrong = include and check_include(src, file, include[1], include[2])
            if wrong:
                found.append(f"{path}:{number}: includes {wrong}")
    return found


def main() -> int:
    src = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1] / "src"
    if not src.is_dir():
        print(f"{src}: no such folder", file=sys.stderr)
        return 2
    found = problems(src)
    for line in found:
        print(line)
    if not found:
        print("layers: in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
