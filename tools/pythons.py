"""Where the other Pythons of this machine are."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess


def find_interpreter(version: str) -> str | None:
    """Return the path of an interpreter, from PATH or of pyenv; version is as "3.13", or "3.13t" for one without a GIL."""
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    identify = "import sys; print('%d.%d' % sys.version_info[:2] + sys.abiflags)"
    folders = glob.glob(f"{pyenv}/versions/{version.removesuffix('t')}.*")
    for candidate in [f"python{version}", *(f"{folder}/bin/python{version}" for folder in folders)]:
        path = shutil.which(candidate)
        if path is None:
            continue
        answer = subprocess.run([path, "-c", identify], capture_output=True, text=True).stdout.strip()
        if answer == version:
            return path
    return None
