"""One operation in the middle of another, on the same object: by a name, a message, a hook, or the garbage collector."""

import asyncio
import os
import socket
import sys

from .table import cases

# ---- The end ----


@cases("ends_with_a_hook_that_knows_the_loop", {"audit": False, "fork": True})
def ends_with_a_hook_that_knows_the_loop(impl, by_fork):
    """It outlives all modules: at the very end it, the types and the module are collected together, in any order."""
    main = vars(sys.modules["__main__"])
    main["loop"] = loop = impl.new_event_loop()
    loop.me = loop
    kept = loop.kept = [loop.create_task(impl.sleep(100)), loop.call_soon(int), loop.call_later(100, int)]
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    kept += [theirs, loop.create_task(loop.sock_recv(ours, 1))]

    async def more():
        kept.append(impl.gather(impl.sleep(100), loop.create_future()))
        kept.append(loop.create_task(impl.wait([loop.create_future()])))
        kept.append(await loop.create_connection(asyncio.Protocol, sock=socket.socketpair()[0]))
        await impl.sleep(0)

    loop.run_until_complete(more())
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False
    hook = eval("lambda *args: loop and None", main)
    os.register_at_fork(after_in_child=hook) if by_fork else sys.addaudithook(hook)
