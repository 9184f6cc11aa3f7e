"""sentry-sdk's integration of asyncio: a task factory that makes asyncio.tasks.Task, and a close() set on the loop."""

import asyncio

import common
import sentry_sdk
from sentry_sdk.integrations.asyncio import AsyncioIntegration
from sentry_sdk.transport import Transport


class Collector(Transport):
    """Keeps what would be sent."""

    def __init__(self, options):
        super().__init__(options)
        self.items = []

    def capture_envelope(self, envelope):
        self.items += envelope.items

    def of_type(self, kind):
        return [item.payload.json for item in self.items if item.headers["type"] == kind]


async def child(number):
    await asyncio.sleep(0.001)
    return number


async def fails():
    await asyncio.sleep(0)
    raise ValueError("seen")


async def main():
    sentry_sdk.init(
        "https://key@127.0.0.1/1",
        transport=Collector,
        traces_sample_rate=1.0,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[AsyncioIntegration()],
    )
    with sentry_sdk.start_transaction(name="main"):
        assert await asyncio.gather(child(0), child(1)) == [0, 1]
        async with asyncio.TaskGroup() as group:
            task = group.create_task(child(2))
        # The first releases of 3.13 call set_name(None) after the factory.
        set_anew = "set_name" in asyncio.BaseEventLoop.create_task.__code__.co_names
        assert task.get_name() == ("None" if set_anew else "child (Sentry-wrapped)")
        with sentry_sdk.start_span(name="inner"):
            await asyncio.wait_for(asyncio.shield(child(3)), 10)
        (failed,), _ = await asyncio.wait([asyncio.create_task(fails())])
        assert repr(failed.exception()) == "ValueError('seen')"
    transport = sentry_sdk.get_client().transport
    (transaction,) = transport.of_type("transaction")
    spans = sorted(span["description"] for span in transaction["spans"])
    assert spans == ["child", "child", "child", "child", "fails", "inner"], spans
    (event,) = transport.of_type("event")
    (exception,) = event["exception"]["values"]
    functions = [frame["function"] for frame in exception["stacktrace"]["frames"]]
    assert exception["type"] == "ValueError" and functions[-1] == "fails", functions
    asyncio.get_running_loop().set_task_factory(None)


common.run(main)
