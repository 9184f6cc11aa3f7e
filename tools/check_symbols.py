"""Check that the built extension module exports PyInit__core and nothing else, and is as hardened as setup.py asks for.

    python tools/check_symbols.py [FILE]     FILE: the module, the one beside asyncio_c's Python files by default

Needs nm and readelf. Exits with 1 if a symbol is exported too many, PyInit__core is not, or a protection is missing.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import sysconfig

# Marks of the linker and of the C runtime, which some toolchains export from each shared object.
LINKER = {"_init", "_fini", "_edata", "_end", "__bss_start"}


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def exported(module: pathlib.Path) -> set[str]:
    """Return the names that a shared object defines for others."""
    lines = output("nm", "-D", "--defined-only", str(module)).splitlines()
    return {line.split()[-1] for line in lines} - LINKER


def unprotected(module: pathlib.Path) -> list[str]:
    """Return what a shared object has been built without."""
    told = {
        "stack protector": "__stack_chk_fail" in output("nm", "-D", "--undefined-only", str(module)),
        "read-only relocations": "GNU_RELRO" in output("readelf", "-lW", str(module)),
        "binding at load time": "BIND_NOW" in output("readelf", "-dW", str(module)),
    }
    return [name for name, is_there in told.items() if not is_there]


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
    names, missing = exported(module), unprotected(module)
    if names != {"PyInit__core"}:
        print("symbols:", " ".join(sorted(names)) or "none")
    if missing:
        print("hardening: no", ", no ".join(missing))
    if missing or names != {"PyInit__core"}:
        return 1
    print("symbols: PyInit__core alone; hardened")
    return 0


if __name__ == "__main__":
    sys.exit(main())
