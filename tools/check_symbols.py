"""Check that the built extension module exports PyInit__core and nothing else.

    python tools/check_symbols.py [FILE]     FILE: the module, the one beside asyncio_c's Python files by default

Needs nm. Exits with 1 if a symbol is exported too many, or PyInit__core is not.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import sysconfig

# Marks of the linker and of the C runtime, which some toolchains export from each shared object.
LINKER = {"_init", "_fini", "_edata", "_end", "__bss_start"}


def exported(module: pathlib.Path) -> set[str]:
    """Return the names that a shared object defines for others."""
    run = subprocess.run(
        ["nm", "-D", "--defined-only", str(module)], capture_output=True, text=True, check=True
    )
    return {line.split()[-1] for line in run.stdout.splitlines()} - LINKER


def main() -> int:
    package = pathlib.Path(__file__).parents[1] / "asyncio_c"
    module = (
        pathlib.Path(sys.argv[1])
        if len(sys.argv) > 1
        else package / f"_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    )
    if not module.exists():
        print(f"{module.name}: not built", file=sys.stderr)
        return 2
    names = exported(module)
    if names == {"PyInit__core"}:
        print("symbols: PyInit__core alone")
        return 0
    print("symbols:", " ".join(sorted(names)) or "none")
    return 1


if __name__ == "__main__":
    sys.exit(main())
