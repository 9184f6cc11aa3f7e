"""redis-py's asyncio client against a redis-server, over its Unix socket and over TCP.

Arguments: the path of the socket, the port.
"""

import asyncio
import sys

import common
import redis.asyncio as redis
from redis.exceptions import ResponseError, WatchError

LARGE = bytes(range(256)) * 4096  # 1 MiB


async def values(client):
    assert await client.ping()
    await client.set("text", "value")
    assert await client.get("text") == b"value"
    await client.set("large", LARGE)
    assert await client.get("large") == LARGE
    assert await client.get("missing") is None
    await client.hset("hash", mapping={"a": 1, "b": 2})
    assert await client.hgetall("hash") == {b"a": b"1", b"b": b"2"}
    try:
        await client.lpush("text", "not a list")
    except ResponseError as error:
        assert "WRONGTYPE" in str(error)
    else:
        raise AssertionError("pushed to a string")


async def pipelines(client):
    async with client.pipeline(transaction=False) as pipe:
        for number in range(2000):
            pipe.set(f"key {number}", number)
            pipe.get(f"key {number}")
        results = await pipe.execute()
    assert results[1::2] == [str(number).encode() for number in range(2000)]
    found = [key async for key in client.scan_iter(match="key *", count=100)]
    assert len(set(found)) == 2000

    # A transaction fails if what it watches was changed by another client.
    async with client.pipeline() as pipe:
        await pipe.watch("text")
        await client.set("text", "changed")
        pipe.multi()
        pipe.set("text", "by the transaction")
        try:
            await pipe.execute()
        except WatchError:
            pass
        else:
            raise AssertionError("the transaction did not see the change")


async def many_at_once(client):
    await client.set("counter", 0)
    await asyncio.gather(*(client.incr("counter") for _ in range(300)))
    assert await client.get("counter") == b"300"


async def blocking(client):
    """A pop that waits, is fed by another connection, and another that is cancelled."""
    waiting = asyncio.create_task(client.blpop("queue", timeout=0))
    while not await blocked(client):
        await asyncio.sleep(0)
    await client.rpush("queue", "job")
    assert list(await waiting) == [b"queue", b"job"]

    waiting = asyncio.create_task(client.blpop("queue", timeout=0))
    while not await blocked(client):
        await asyncio.sleep(0)
    waiting.cancel()
    results = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError), results
    # Nobody waits any more, as the server sees it once it has read the end of that connection.
    while await blocked(client):
        await asyncio.sleep(0)
    await client.rpush("queue", "kept")
    assert await client.lpop("queue") == b"kept"


async def blocked(client):
    return (await client.info("clients"))["blocked_clients"]


async def publishing(client):
    async with client.pubsub() as listener:
        await listener.subscribe("news")
        await listener.psubscribe("weather.*")
        messages = listener.listen()
        kinds = {(await anext(messages))["type"], (await anext(messages))["type"]}
        assert kinds == {"subscribe", "psubscribe"}

        async def publish():
            for number in range(200):
                assert await client.publish("news", number) == 1
            assert await client.publish("weather.today", "sun") == 1

        publishing = asyncio.create_task(publish())
        for number in range(200):
            message = await anext(messages)
            assert (message["type"], message["data"]) == ("message", str(number).encode())
        assert (await anext(messages))["channel"] == b"weather.today"
        await publishing
        await messages.aclose()


async def main():
    path, port = sys.argv[1:]
    kinds = ({"connection_class": redis.UnixDomainSocketConnection, "path": path}, {"port": int(port)})
    for options in kinds:
        # The pool that makes requests wait for a connection, when there are more of them than connections.
        pool = redis.BlockingConnectionPool(max_connections=20, timeout=None, **options)
        async with redis.Redis.from_pool(pool) as client:
            await client.flushall()
            await values(client)
            await pipelines(client)
            await many_at_once(client)
            await blocking(client)
            await publishing(client)


common.run(main)
