"""The order of events around datagrams, of which the C transport receives several in one turn of the loop."""

import asyncio
import sys

import pytest

from .. import marks, support
from .peers import DatagramRecorder, turns


def name(transport):
    return transport.get_extra_info("sockname")


async def finish(transport, protocol):
    transport.close()
    assert await protocol.lost() is None


def data_of(protocol):
    return [data for data, _ in protocol.datagrams]


# ---- The order of events ----


async def test_what_a_datagram_queues_runs_before_the_next(udp):
    """asyncio receives one datagram in a turn of its loop."""
    order = []

    def received(self, data, address):
        order.append(data)
        asyncio.get_running_loop().call_soon(order.append, b"after " + data)

    transport, protocol = await udp.endpoint(lambda: DatagramRecorder(datagram=received))
    sock = udp.new()
    for data in (b"1", b"2", b"3"):
        sock.sendto(data, name(transport))
    await protocol.until(lambda: len(protocol.datagrams) == 3)
    await turns()
    assert order == [b"1", b"after 1", b"2", b"after 2", b"3", b"after 3"]
    await finish(transport, protocol)


async def test_a_timer_that_is_due_runs_before_the_next(udp):
    order = []

    def received(self, data, address):
        order.append(data)
        asyncio.get_running_loop().call_later(0, order.append, b"after " + data)

    transport, protocol = await udp.endpoint(lambda: DatagramRecorder(datagram=received))
    sock = udp.new()
    for data in (b"1", b"2", b"3"):
        sock.sendto(data, name(transport))
    await protocol.until(lambda: len(protocol.datagrams) == 3)
    await turns()
    assert [item for item in order if item in (b"1", b"2", b"3")] == [b"1", b"2", b"3"]
    assert order.index(b"after 1") < order.index(b"3"), (
        "ready descriptors come before timers of the same turn"
    )
    await finish(transport, protocol)


@pytest.mark.parametrize("method", ("close", "abort", pytest.param("pause_reading", marks=marks.not_early)))
@pytest.mark.parametrize("soon", (False, True), ids=("at once", "soon"))
async def test_no_datagram_after(udp, method, soon):
    def received(self, data, address):
        act = getattr(self.transport, method)
        asyncio.get_running_loop().call_soon(act) if soon else act()

    transport, protocol = await udp.endpoint(lambda: DatagramRecorder(datagram=received))
    sock = udp.new()
    for data in (b"1", b"2", b"3"):
        sock.sendto(data, name(transport))
    await protocol.until(lambda: protocol.datagrams)
    await turns(10)
    assert data_of(protocol) == [b"1"]
    if method == "pause_reading":
        for count in (2, 3):
            transport.resume_reading()
            await protocol.until(lambda: len(protocol.datagrams) == count)
            await turns(10)
            assert len(protocol.datagrams) == count
        await finish(transport, protocol)
    else:
        assert await protocol.lost() is None


def test_stop_keeps_the_rest_for_the_next_run(loop, udp):
    def received(self, data, address):
        loop.stop()

    transport, protocol = loop.run_until_complete(udp.endpoint(lambda: DatagramRecorder(datagram=received)))
    sock = udp.new()
    for data in (b"1", b"2", b"3"):
        sock.sendto(data, name(transport))
    for count in (1, 2, 3):
        loop.run_forever()
        assert len(protocol.datagrams) == count
    transport.close()
    support.run_until_idle(loop)
    assert protocol.events[-1] == "lost"


def test_what_leaves_the_loop_leaves_the_rest(loop, udp):
    def received(self, data, address):
        if data == b"2":
            raise KeyboardInterrupt

    transport, protocol = loop.run_until_complete(udp.endpoint(lambda: DatagramRecorder(datagram=received)))
    sock = udp.new()
    for data in (b"1", b"2", b"3"):
        sock.sendto(data, name(transport))
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert data_of(protocol) == [b"1", b"2"]
    loop.run_until_complete(protocol.until(lambda: len(protocol.datagrams) == 3))
    transport.close()
    support.run_until_idle(loop)
    assert protocol.events[-1] == "lost"


async def test_flood_starves_nobody(udp, loop):
    """A socket that is never empty leaves the others their turns."""
    transport, protocol = await udp.endpoint(
        lambda: DatagramRecorder(datagram=lambda self, data, address: sock.sendto(data, name(transport)))
    )
    sock = udp.new()
    other, quiet = await udp.endpoint()
    for _ in range(50):
        sock.sendto(b"flood", name(transport))
    await protocol.until(lambda: protocol.datagrams)
    sock.sendto(b"x", name(other))
    await quiet.until(lambda: quiet.datagrams)
    transport.abort()
    await protocol.lost()
    await finish(other, quiet)


async def test_another_protocol_in_between(udp):
    second = DatagramRecorder()
    transport, protocol = await udp.endpoint(
        lambda: DatagramRecorder(
            datagram=lambda self, data, address: self.transport.set_protocol(protocol=second)
        )
    )
    sock = udp.new()
    for data in (b"1", b"2", b"3"):
        sock.sendto(data, name(transport))
    await second.until(lambda: len(second.datagrams) == 2)
    assert data_of(protocol) == [b"1"]
    assert data_of(second) == [b"2", b"3"]
    transport.close()
    assert await second.lost() is None


async def test_reports_of_each_exception(udp, reports):
    def fail(self, data, address):
        raise LookupError(data)

    transport, protocol = await udp.endpoint(lambda: DatagramRecorder(datagram=fail))
    sock = udp.new()
    for data in (b"1", b"2", b"3"):
        sock.sendto(data, name(transport))
    await protocol.until(lambda: len(protocol.datagrams) == 3)
    await turns()
    assert [context["exception"].args for context in reports] == [(b"1",), (b"2",), (b"3",)]
    assert all(context["message"].startswith("Exception in callback ") for context in reports)
    reports.clear()
    await finish(transport, protocol)


# ---- error_received ----


async def refused(udp, **actions):
    """Return a transport whose peer is gone."""
    sock = udp.new()
    address = sock.getsockname()
    sock.close()
    return await udp.endpoint(lambda: DatagramRecorder(**actions), remote_addr=address)


async def test_error_while_receiving(udp):
    handled = []
    transport, protocol = await refused(udp, error=lambda self, exc: handled.append(sys.exc_info()[1]))
    transport.sendto(b"x")
    await protocol.until(lambda: protocol.errors)
    assert type(protocol.errors[0]) is ConnectionRefusedError
    assert handled == protocol.errors, "as in an except block"
    assert sys.exc_info()[1] is None
    await finish(transport, protocol)


async def test_exception_in_error_received_while_receiving(udp, reports):
    def fail(self, exc):
        raise LookupError("error")

    transport, protocol = await refused(udp, error=fail)
    transport.sendto(b"x")
    await protocol.until(lambda: protocol.errors)
    await turns()
    error = reports.pop()["exception"]
    assert type(error) is LookupError
    assert error.__context__ is protocol.errors[0]
    assert transport.is_closing() is False
    await finish(transport, protocol)


@pytest.mark.whole_calls
async def test_exception_in_error_received_while_sending(udp):
    def fail(self, exc):
        raise LookupError("error")

    transport, protocol = await udp.endpoint(lambda: DatagramRecorder(error=fail))
    with pytest.raises(LookupError) as caught:
        transport.sendto(bytes(70_000), udp.new().getsockname())
    assert caught.value.__context__ is protocol.errors[0]
    await finish(transport, protocol)


@pytest.mark.parametrize("method", ("close", "abort"))
@pytest.mark.whole_calls
async def test_end_in_error_received_while_sending(udp, method):
    transport, protocol = await udp.endpoint(
        lambda: DatagramRecorder(error=lambda self, exc: getattr(self.transport, method)())
    )
    transport.sendto(bytes(70_000), udp.new().getsockname())
    assert transport.is_closing() is True
    assert await protocol.lost() is None
    assert protocol.events == ["made", "error", "lost"]
