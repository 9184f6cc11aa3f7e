#!/bin/sh
# asyncio.Lock: whoever waits in acquire(), was woken, and is then closed instead of being cancelled (coroutine.close(), as when a
# framework that drives coroutines itself drops one) takes the lock with it to the grave. A CancelledError wakes the next in line,
# a GeneratorExit does not: the lock is free, and the task that waits for it waits until somebody else takes and releases it.
#
# Seen on 29 November 2026 with CPython 3.11.7, 3.12.1, 3.13.0, 3.14.10 and 3.15.2, which all print
#
#     closed: locked=False, the next one has it: False
#     cancelled: locked=True, the next one has it: True
#
# No package is needed; PYTHON chooses another interpreter than python3.
set -eu
output=$("${PYTHON:-python3}" -I - <<'EOF'
import asyncio


async def main(how):
    lock = asyncio.Lock()
    await lock.acquire()
    first = lock.acquire()
    first.send(None)  # by hand, so that it can be closed: it waits
    second = asyncio.ensure_future(lock.acquire())
    await asyncio.sleep(0)
    lock.release()  # wakes the first
    try:
        first.close() if how == "closed" else first.throw(asyncio.CancelledError)
    except asyncio.CancelledError:
        pass
    for _ in range(10):
        await asyncio.sleep(0)
    print(f"{how}: locked={lock.locked()}, the next one has it: {second.done()}")
    second.cancel()


asyncio.run(main("closed"))
asyncio.run(main("cancelled"))
EOF
)
echo "$output"
[ "$output" = "closed: locked=False, the next one has it: False
cancelled: locked=True, the next one has it: True" ]
