#!/usr/bin/env bash
# uvloop 0.23.0 calls a task factory with keywords that nobody gave to create_task(): `context` on every Python, and `eager_start` from
# 3.13 on, also on 3.13.0, whose asyncio has no such argument.  A factory of the signature that the documentation of 3.11 to 3.13.0 asks
# for, (loop, coro, context=None), works with uvloop up to 3.12 and raises TypeError on 3.13.0; asyncio calls it with the coroutine alone.
#
# Seen on 30 November 2026, `loop.create_task(coroutine)`, as asyncio: keywords / uvloop: keywords, and what the factory raises there
#
#     CPython 3.11.7, 3.12.1   []  /  ['context'], nothing
#     CPython 3.13.0           []  /  ['context', 'eager_start'], TypeError
#
# PYTHON chooses another interpreter than python3: one of these three.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install uvloop==0.23.0
output=$("$folder/env/bin/python" -I - <<'EOF'
import asyncio

import uvloop


async def nothing():
    pass


def make(loop):
    """Return the keywords that a factory gets, and what one of the documented signature raises."""
    keywords = []

    def any_keywords(loop, coro, **options):
        keywords.extend(sorted(options))
        return asyncio.Task(coro, loop=loop)

    def documented(loop, coro, context=None):
        return asyncio.Task(coro, loop=loop, context=context)

    loop.set_task_factory(any_keywords)
    loop.run_until_complete(loop.create_task(nothing()))
    loop.set_task_factory(documented)
    coroutine = nothing()
    try:
        loop.run_until_complete(loop.create_task(coroutine))
        return keywords, "nothing"
    except TypeError as error:
        return keywords, type(error).__name__
    finally:
        coroutine.close()
        loop.close()


print("asyncio:", *make(asyncio.new_event_loop()))
print("uvloop:", *make(uvloop.new_event_loop()))
EOF
)
echo "$output"
case $("$folder/env/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') in
3.13) expected="uvloop: ['context', 'eager_start'] TypeError" ;;
*) expected="uvloop: ['context'] nothing" ;;
esac
[ "$output" = "asyncio: [] nothing
$expected" ]
