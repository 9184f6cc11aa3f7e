#!/bin/sh
# looptime 0.9 is a pytest plugin that takes part in every session as soon as it is installed, and does not require
# pytest-asyncio. Where that is not installed, or is switched off by "-p no:asyncio", each test that has a fixture, asynchronous
# or not, ends in an error in its setup: the hook that wraps fixtures asks the plugin manager for "asyncio" and reads the
# __name__ of what it gets, which is None. So do unittest's test cases, whose setUp() is a fixture to pytest.
#
# Seen on 29 November 2026 with Python 3.11.7, pytest 9.2.0, looptime 0.9:
#
#     E   AttributeError: 'NoneType' object has no attribute '__name__'
#     1 passed, 1 error
#
# With pytest-asyncio 1.5.0 beside it both tests pass. Around it: "-p no:looptime_plugin".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pytest==9.2.0 looptime==0.9
cat > "$folder/test_one.py" <<'EOF'
import pytest

@pytest.fixture
def number():
    return 1

def test_without_a_fixture():
    pass

def test_with_a_fixture(number):
    assert number == 1
EOF
cd "$folder"
run() { venv/bin/python -m pytest -q --tb=line -W ignore -p no:cacheprovider "$@" test_one.py >output 2>&1 || true; cat output; }
run
grep -q "AttributeError: 'NoneType' object has no attribute '__name__'" output || exit 1
grep -q "1 passed, 1 error" output || exit 1
run -p no:looptime_plugin
grep -q "2 passed" output || exit 1
venv/bin/pip install -q pytest-asyncio==1.5.0
run
grep -q "2 passed" output || exit 1
