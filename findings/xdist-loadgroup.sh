#!/usr/bin/env bash
# pytest-xdist's --dist loadgroup keeps no group together under pytest 9.2, and says nothing.
#
# Seen on 29 November 2026, on CPython 3.11.7, with pytest-xdist 3.8.0: two tests are marked xdist_group("one"), two
# xdist_group("two").  With pytest 9.1.1 each group runs in one worker: 2 groups, in 2 workers.  With pytest 9.2.0 the marks are
# accepted and the tests are handed out one by one, as by --dist load.  xdist writes the name of the group behind an item's
# private `_nodeid`, from which pytest 9.2 does not make `nodeid` any longer.  What shares a port, a file or a fixture of the
# session by such groups meets itself from then on.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1
cat >"$folder/test_groups.py" <<'EOF'
import pytest


@pytest.mark.parametrize("number", range(8))
@pytest.mark.xdist_group("one")
def test_one(number):
    pass
EOF

# workers PYTEST: print how many workers ran that group.
workers() {
    "${PYTHON:-python3}" -m venv "$folder/$1"
    "$folder/$1/bin/pip" install "pytest==$1" pytest-xdist==3.8.0
    "$folder/$1/bin/python" -m pytest -v -p no:cacheprovider -n 2 --dist loadgroup "$folder/test_groups.py" |
        sed -n 's/^\[\(gw[0-9]*\)\].*PASSED.*/\1/p' | sort -u | wc -l
}

old=$(workers 9.1.1) new=$(workers 9.2.0)
echo "workers that ran the one group: $old by pytest 9.1.1, $new by pytest 9.2.0"
[ "$old" = 1 ] && [ "$new" = 2 ]
