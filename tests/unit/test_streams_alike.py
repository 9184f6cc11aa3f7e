"""StreamReader's waits, step by step as asyncio has them: data cut at every size, limits, and a cancellation in every turn.

What a program of reads gets, when, and what the transport is asked for, is noted on asyncio and on ours, and has to be the same.
"""

import functools

import pytest

from . import support

TEXT = b"ab\r\ncd--ef\n\nghijklmnop--q\r\nrstuvwxyz\n--tail"
# How the text is cut, and the limit of the reader.
CASES = [
    (1, 8),
    (2, 3),
    (2, 2**16),
    *((cut, limit) for cut in (3, 5, 8, 13, len(TEXT)) for limit in (3, 8, 2**16)),
]
CALLS = (
    ("readline",),
    ("readuntil", b"--"),
    ("readexactly", 3),
    ("read", 4),
    ("__anext__",),
    ("readuntil", b"\r\n"),
    ("readexactly", 0),
    *([("readuntil", (b"-", b"\n", b"--"))] if support.PY313 else []),
    ("read", 0),
    ("read",),
)


class Transport:
    def __init__(self, note):
        self.note = note

    def pause_reading(self):
        self.note("pause")

    def resume_reading(self):
        self.note("resume")


async def read(reader, calls, note):
    """Each call, whatever becomes of the one before."""
    for name, *arguments in calls:
        try:
            note(name, await getattr(reader, name)(*arguments))
        except BaseException as error:
            note(name, type(error).__name__, *error.args, vars(error))


def noted(impl, calls, cut, limit, cancelled):
    """Run the calls while TEXT comes, cut so; `cancelled`: in which turn, and whether before that turn's data or behind."""
    notes, turn = [], 0
    with support.closing(impl.new_event_loop()) as loop:
        reader = impl.StreamReader(limit=limit, loop=loop)
        reader.set_transport(Transport(lambda *what: notes.append((turn, *what))))
        task = loop.create_task(read(reader, calls, lambda *what: notes.append((turn, *what))))
        support.run_once(loop)
        for turn, place in enumerate(range(0, len(TEXT), cut)):
            if cancelled == (turn, "before"):
                task.cancel()
            reader.feed_data(TEXT[place : place + cut])
            if cancelled == (turn, "behind"):
                task.cancel("enough")
            support.run_once(loop)
        turn += 1
        if cancelled == (turn, "before"):
            task.cancel()
        reader.feed_eof()
        for turn in range(turn + 1, turn + 5):
            support.run_once(loop)
        assert task.done()
        notes.append((reader.at_eof(), reader._paused, reader._waiter, bytes(reader._buffer)))
    return notes


def cancellations(cut):
    turns = -(-len(TEXT) // cut)
    yield None
    for turn in range(turns):
        yield turn, "before"
        yield turn, "behind"
    yield turns, "before"


@functools.cache
def expected(first, cut, limit):
    calls = CALLS[first:] + CALLS[:first]
    stock = support.load("asyncio")
    return [noted(stock, calls, cut, limit, cancelled) for cancelled in cancellations(cut)]


@pytest.mark.parametrize("cut, limit", CASES)
def test_cancelled_in_every_turn(ours, cut, limit):
    """Each of the calls is the first once, and so waits for the first data."""
    for first in range(len(CALLS)):
        calls = CALLS[first:] + CALLS[:first]
        for cancelled, wanted in zip(cancellations(cut), expected(first, cut, limit), strict=True):
            assert noted(ours, calls, cut, limit, cancelled) == wanted, (calls[0], cancelled)


def test_what_is_noted_tells():
    """Otherwise the comparisons above would prove nothing."""
    first_only = [run for cut, limit in CASES[1:5] for run in expected(0, cut, limit)]
    names = {call[0] for call in CALLS}
    runs = first_only + [run for first in range(len(CALLS)) for run in expected(first, 2, 3)]
    seen = {
        (note[1], note[2] if type(note[2]) is str else None)
        for run in runs
        for note in run[:-1]
        if len(note) > 2
    }
    assert {(name, "CancelledError") for name in names} <= seen
    assert {"LimitOverrunError", "ValueError", "IncompleteReadError", "StopAsyncIteration"} <= {
        what for _, what in seen
    }
    assert {"pause", "resume"} <= {note[1] for run in runs for note in run[:-1] if len(note) == 2}
