#!/bin/sh
# Without a GIL, CPython 3.13 keeps each name that pathlib has ever seen in a path until the process ends: pathlib interns the parts
# of a path, and without a GIL what is interned is immortal. A server that handles files of ever new names by pathlib grows
# by a string for each, some 60 bytes and the name; os.path keeps nothing. With a GIL the names go with the paths. We met it
# as a "leak" of each test that pytest had given a new folder.
#
# Seen on 30 November 2026; memory blocks that 20,000 new names leave behind in pathlib, and in os.path:
#
#     CPython 3.13.15, without a GIL              20002 and 2, give or take 10
#     CPython 3.11.7 and 3.13.0, with a GIL       2 and 2, give or take 10
#
# It takes no packages, but a Python without a GIL, as PYTHON or python3.13t.
set -eu
python=${PYTHON:-python3.13t}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/names.py" <<'PROGRAM'
import gc
import os.path
import pathlib
import sys
import sysconfig

NAMES = 20_000


def growth(base, name):
    gc.collect()
    before = sys.getallocatedblocks()
    for number in range(base, base + NAMES):
        assert name(f"/requests/{number}") == str(number)
    gc.collect()
    return sys.getallocatedblocks() - before


def by_pathlib(path):
    return pathlib.PurePosixPath(path).name


growth(0, by_pathlib)  # what is made once
kept, kept_by_os = growth(1_000_000, by_pathlib), growth(2_000_000, os.path.basename)
free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
print(sys.version.split()[0], "without a GIL" if free_threaded else "with a GIL", kept, kept_by_os)
sys.exit(0 if kept_by_os < NAMES / 10 and (kept > NAMES * 0.9 if free_threaded else kept < NAMES / 10) else 1)
PROGRAM
"$python" "$folder/names.py"
