"""How often a byte of a stream is looked at and copied, counted in the calls of the C library."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from differential.virtual_clock import compiler
from same_output import ROOT, environment

pytestmark = [
    pytest.mark.skipif(
        "glibc" not in platform.libc_ver(), reason="the calls that are counted are those of glibc"
    ),
    pytest.mark.skipif(
        "asan" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer has such calls of its own"
    ),
    pytest.mark.skipif(shutil.which(compiler()[0]) is None, reason="what counts is compiled"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("counted") / "counted_memory.so"
    source = Path(__file__).with_name("counted_memory.c")
    options = ["-std=c11", "-O1", "-fno-builtin", "-shared", "-fPIC", "-o", path, source, "-ldl"]
    subprocess.run([*compiler(), *options], check=True)
    return path


# Each chunk comes by itself, and wakes the one who waits for the end of all.
PROGRAM = """
import asyncio, ctypes, sys
memory = ctypes.CDLL(None)
memory.counted_searched.restype = memory.counted_copied.restype = ctypes.c_size_t
async def main(call, size, count):
    reader = asyncio.StreamReader(limit=2**24)
    chunks = [bytes(size) for _ in range(count)]
    task = asyncio.create_task(eval(call, {"reader": reader, "total": size * count}))
    await asyncio.sleep(0)
    memory.counted_reset()
    for chunk in chunks:
        assert not task.done()
        reader.feed_data(chunk)
        await asyncio.sleep(0)
    if not task.done():
        reader.feed_data(b"\\r\\n")
    result = await task
    print(memory.counted_searched(), memory.counted_copied(), len(result) - size * count)
for size, count in eval(sys.argv[2]):
    asyncio.run(main(sys.argv[1], size, count))
"""
# A line of twice as many chunks, twice.
CASES = [(size, count) for size in (10, 2000) for count in (200, 400, 800)]


def counted(library, call, cases, *, patched):
    """Return how many bytes were searched and how many copied, for each size and number of chunks."""
    start = ["-m", "asyncio_c"] if patched else []
    output = subprocess.check_output(
        [sys.executable, *start, "-c", PROGRAM, call, repr(cases)],
        cwd=ROOT,
        env=environment() | {"LD_PRELOAD": str(library)},
        text=True,
    )
    numbers = [tuple(map(int, line.split())) for line in output.splitlines()]
    assert len(numbers) == len(cases) and {rest for _, _, rest in numbers} <= {0, 2}
    return [(searched, copied) for searched, copied, _ in numbers]


@pytest.mark.parametrize("patched", [False, True], ids=["asyncio", "native"])
@pytest.mark.parametrize("call", ["reader.readline()", "reader.readuntil(b'\\r\\n')"])
def test_each_byte_of_a_line_is_searched_once(library, patched, call):
    """So the cost of a line grows as the line does. A newline cut in two is looked for at the end of each chunk."""
    for (size, count), (searched, _) in zip(CASES, counted(library, call, CASES, patched=patched)):
        total = size * count
        assert searched <= total + 8 * count + 20_000
        assert searched >= total or not patched, "what counts does not see the search"


def test_many_chunks_are_copied_once(library):
    """And small ones once more, when they come, to be kept together, but for the first."""
    numbers = counted(library, "reader.readexactly(total)", CASES, patched=True)
    for (size, count), (_, copied) in zip(CASES, numbers):
        # An optimised build may copy small ones by instructions of its own, which nobody counts.
        again = size * (count - 1) if size < 1024 else 0
        assert size * count <= copied <= size * count + again + 64 * count + 20_000


def test_a_chunk_that_is_read_whole_is_not_copied(library):
    ((_, copied),) = counted(library, "reader.read(total)", [(1_000_000, 1)], patched=True)
    assert copied < 20_000
