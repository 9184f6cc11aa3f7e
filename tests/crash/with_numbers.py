"""Absurd delays, descriptors and sizes."""

import asyncio
import decimal
import fractions
import os
import socket

from .table import attempt, case, cases, new_loop, pair, turns


class RaisesInFloat:
    def __float__(self):
        raise ZeroDivisionError

    __index__ = __le__ = __lt__ = __ge__ = __gt__ = __add__ = __radd__ = __float__


DELAYS = {
    "nan": float("nan"),
    "infinite": float("inf"),
    "minus_infinite": float("-inf"),
    "huge": 1e308,
    "minus_huge": -1e308,
    "huge_int": 10**400,
    "minus_huge_int": -(10**400),
    "nanoseconds_overflow": 2.0**63 / 1e9,
    "just_below": 9223372036.854775,
    "smallest": 5e-324,
    "minus_zero": -0.0,
    "string": "1",
    "none": None,
    "complex": 1j,
    "fraction": fractions.Fraction(1, 10**9),
    "decimal": decimal.Decimal("1e-9"),
    "decimal_nan": decimal.Decimal("nan"),
    "raises": RaisesInFloat(),
    "bool": False,
}


@cases("delay", DELAYS)
def delay(impl, value):
    with new_loop(impl) as loop:
        handles = [attempt(loop.call_later, value, int), attempt(loop.call_at, value, int)]
        for handle in handles:
            if isinstance(handle, asyncio.TimerHandle):
                attempt(handle.when)
                attempt(repr, handle)
                attempt(hash, handle)
                attempt(handle.__lt__, handle)
        attempt(turns, loop)
        for handle in handles:
            if isinstance(handle, asyncio.TimerHandle):
                handle.cancel()

        async def waits():
            async with asyncio.timeout(value):
                await impl.sleep(0)

        for coro in (
            impl.sleep(value),
            waits(),
            asyncio.wait_for(impl.sleep(0), value),
            impl.wait([loop.create_future()], timeout=value),
        ):
            task = loop.create_task(coro)
            attempt(turns, loop, 4)
            task.cancel()
            attempt(turns, loop, 4)
            attempt(task.result) if task.done() and not task.cancelled() else None
        attempt(setattr, loop, "slow_callback_duration", value)
        loop.set_debug(True)
        loop.call_soon(int)
        attempt(turns, loop, 2)


@case
def clock_jumps(impl):
    with new_loop(impl) as loop:
        fired = []
        times = [0.0, 1e300, -1e300, float("inf"), float("-inf"), 5.0, float("nan"), "x", None, 10**400] * 3
        loop.call_later(1, fired.append, 1)
        loop.time = lambda: times.pop() if times else 0.0
        loop.call_later(0.5, fired.append, 2) if times[-1] == 0.0 else None
        for _ in range(40):
            attempt(turns, loop, 1)


class Fileno:
    def __init__(self, value):
        self.value = value

    def fileno(self):
        if isinstance(self.value, type):
            raise self.value
        return self.value


def closed_descriptor():
    fd = os.dup(0)
    os.close(fd)
    return fd


def closed_socket():
    sock = socket.socket()
    sock.close()
    return sock


DESCRIPTORS = {
    "negative": -1,
    "most_negative": -(1 << 31),
    "largest_int": (1 << 31) - 1,
    "larger_than_int": 1 << 31,
    "larger_than_long": 1 << 63,
    "largest": 10**30,
    "unopened": 1_000_000,
    "closed": closed_descriptor(),
    "string": "x",
    "none": None,
    "float": 1.5,
    "object": object(),
    "fileno_raises": Fileno(ZeroDivisionError),
    "fileno_negative": Fileno(-5),
    "fileno_huge": Fileno(10**30),
    "fileno_string": Fileno("x"),
    "fileno_none": Fileno(None),
    "closed_socket": closed_socket(),
    "regular_file": os.open(__file__, os.O_RDONLY),
    "folder": os.open("/", os.O_RDONLY),
}


@cases("descriptor", DESCRIPTORS)
def descriptor(impl, fd):
    with new_loop(impl) as loop:
        for name in ("add_reader", "add_writer", "_add_reader", "_add_writer"):
            attempt(getattr(loop, name), fd, int)
        attempt(turns, loop, 3)
        for name in ("remove_reader", "remove_writer", "_remove_reader", "_remove_writer"):
            attempt(getattr(loop, name), fd)
        for name, args in {
            "sock_recv": (10,),
            "sock_recv_into": (bytearray(10),),
            "sock_sendall": (b"x",),
            "sock_accept": (),
            "sock_connect": (("127.0.0.1", 1),),
        }.items():
            coro = attempt(getattr(loop, name), fd, *args)
            task = attempt(loop.create_task, coro)
            attempt(turns, loop, 3)
            if isinstance(task, asyncio.Future):
                task.cancel()
                attempt(turns, loop, 3)
                attempt(task.exception) if not task.cancelled() else None


SIZES = {
    "negative": -1,
    "zero": 0,
    "most_negative": -(1 << 63),
    "huge": 1 << 62,
    "larger_than_long": 1 << 64,
    "none": None,
    "float": 1.5,
    "string": "x",
}


@cases("size", SIZES)
def size(impl, value):
    with new_loop(impl) as loop:
        ours, theirs = pair()
        with ours, theirs:
            theirs.send(b"x")
            for make in (
                lambda: loop.sock_recv(ours, value),
                lambda: loop.sock_recv_into(ours, value),
                lambda: loop.sock_sendall(ours, value),
                lambda: loop.sock_recvfrom(ours, value),
            ):
                task = attempt(loop.create_task, attempt(make))
                attempt(turns, loop, 3)
                if isinstance(task, asyncio.Future):
                    task.cancel()
                    attempt(turns, loop, 3)
                    attempt(task.exception) if not task.cancelled() else None


@case
def buffer_of_sock_recv_into_is_resized(impl):
    with new_loop(impl) as loop:
        ours, theirs = pair()
        with ours, theirs:
            buffer = bytearray(10)
            task = loop.create_task(loop.sock_recv_into(ours, buffer))
            turns(loop, 3)
            attempt(buffer.clear)
            attempt(buffer.extend, bytes(100_000))
            theirs.send(b"0123456789")
            turns(loop, 3)
            attempt(task.exception)


@case
def data_of_sock_sendall_is_resized(impl):
    with new_loop(impl) as loop:
        ours, theirs = pair()
        with ours, theirs:
            data = bytearray(10_000_000)
            task = loop.create_task(loop.sock_sendall(ours, data))
            turns(loop, 3)
            attempt(data.clear)
            for _ in range(10):
                theirs.recv(1_000_000)
                turns(loop, 3)
            task.cancel()
            turns(loop, 3)


@case
def socket_is_closed_while_waited_for(impl):
    with new_loop(impl) as loop:
        ours, theirs = pair()
        with theirs:
            tasks = [loop.create_task(loop.sock_recv(ours, 10))]
            turns(loop, 3)
            ours.close()
            theirs.send(b"x") if False else None
            turns(loop, 3)
            for task in tasks:
                task.cancel()
            turns(loop, 3)
