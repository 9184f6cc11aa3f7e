"""Subprocesses joined by pipes, and fed, drained, killed and cancelled by the program."""

import asyncio
import hashlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT

import common

DATA = bytes(range(256)) * 16_384  # 4 MiB, far beyond what pipes hold


async def joined_by_pipes():
    """gzip | gunzip | sha256sum, joined by the kernel; the program feeds one end and reads the other."""
    packed_out, packed_in = os.pipe()
    unpacked_out, unpacked_in = os.pipe()
    pack = await asyncio.create_subprocess_exec("gzip", "-1", "-c", stdin=PIPE, stdout=packed_in)
    os.close(packed_in)
    unpack = await asyncio.create_subprocess_exec("gunzip", "-c", stdin=packed_out, stdout=unpacked_in)
    os.close(packed_out)
    os.close(unpacked_in)
    digest = await asyncio.create_subprocess_exec("sha256sum", stdin=unpacked_out, stdout=PIPE)
    os.close(unpacked_out)

    async def feed():
        for start in range(0, len(DATA), 65_536):
            pack.stdin.write(DATA[start : start + 65_536])
            await pack.stdin.drain()
        pack.stdin.close()
        await pack.stdin.wait_closed()

    _, (line, _) = await asyncio.gather(feed(), digest.communicate())
    assert line.split()[0].decode() == hashlib.sha256(DATA).hexdigest(), line
    assert [await process.wait() for process in (pack, unpack, digest)] == [0, 0, 0]


async def joined_by_the_program():
    """Two processes, between which the program itself carries the bytes."""
    pack = await asyncio.create_subprocess_exec("gzip", "-1", "-c", stdin=PIPE, stdout=PIPE)
    unpack = await asyncio.create_subprocess_exec("gunzip", "-c", stdin=PIPE, stdout=PIPE)

    async def feed(writer):
        writer.write(DATA)
        await writer.drain()
        writer.close()

    async def carry(reader, writer):
        while data := await reader.read(10_000):
            writer.write(data)
            await writer.drain()
        writer.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(feed(pack.stdin))
        group.create_task(carry(pack.stdout, unpack.stdin))
        result = group.create_task(unpack.stdout.read())
        group.create_task(pack.wait())
        group.create_task(unpack.wait())
    assert result.result() == DATA


async def conversation():
    """A child that answers each line, until the end of its input."""
    child = await asyncio.create_subprocess_exec("sed", "-u", "s/^/got /", stdin=PIPE, stdout=PIPE)
    for number in range(200):
        child.stdin.write(b"%d\n" % number)
        assert await child.stdout.readline() == b"got %d\n" % number
    child.stdin.write_eof()
    assert await child.stdout.read() == b""
    assert await child.wait() == 0


async def statuses():
    """What a shell and signals make of the exit status; standard error apart and merged; the environment and folder."""
    shell = await asyncio.create_subprocess_shell("echo out; echo err >&2; exit 7", stdout=PIPE, stderr=PIPE)
    assert await shell.communicate() == (b"out\n", b"err\n")
    assert shell.returncode == 7
    shell = await asyncio.create_subprocess_shell("echo out; echo err >&2", stdout=PIPE, stderr=STDOUT)
    assert await shell.communicate() == (b"out\nerr\n", None)
    shell = await asyncio.create_subprocess_shell(
        'echo "$NAME"; pwd', stdout=PIPE, env={"NAME": "x"}, cwd="/"
    )
    assert await shell.communicate() == (b"x\n/\n", None)

    for number in (signal.SIGTERM, signal.SIGKILL):
        # The child says that it runs before it is signalled.
        child = await asyncio.create_subprocess_shell("echo up; exec cat", stdin=PIPE, stdout=PIPE)
        assert await child.stdout.readline() == b"up\n"
        child.send_signal(number)
        assert await child.wait() == -number
        assert await child.stdout.read() == b""
        child.stdin.close()

    try:
        await asyncio.create_subprocess_exec("/nonexistent/program")
    except FileNotFoundError:
        pass
    else:
        raise AssertionError("started what does not exist")


async def many_at_once():
    """Children that exit at the same time, each with its own output and status."""

    async def one(number):
        command = f"read line; echo {number} $line; exit {number}"
        child = await asyncio.create_subprocess_shell(command, stdin=PIPE, stdout=PIPE)
        output, _ = await child.communicate(b"here\n")
        return output, child.returncode

    results = await asyncio.gather(*map(one, range(30)))
    assert results == [(b"%d here\n" % number, number) for number in range(30)], results


async def cancelled():
    """communicate() that is cancelled leaves a child that can still be killed and waited for."""
    child = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
    waiting = asyncio.create_task(child.stdout.read())
    child.stdin.write(b"something")
    await child.stdin.drain()
    await asyncio.sleep(0)
    waiting.cancel()
    results = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError), results
    child.kill()
    assert await child.wait() == -signal.SIGKILL
    child.stdin.close()


async def python_child():
    """A child of our own Python that writes more than the pipe holds to both of its outputs at once."""
    code = "import sys; sys.stdout.write('o' * 500_000); sys.stderr.write('e' * 500_000)"
    child = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", code, stdout=PIPE, stderr=PIPE)
    output, errors = await child.communicate()
    assert (output, errors) == (b"o" * 500_000, b"e" * 500_000)


async def main():
    await joined_by_pipes()
    await joined_by_the_program()
    await conversation()
    await statuses()
    await many_at_once()
    await cancelled()
    await python_child()


common.run(main)
