"""asyncpg against PostgreSQL, over its Unix socket, over TCP, and over TCP upgraded to TLS.

Arguments: the folder of the socket, the port, and the certificate of the authority behind the server's own.
"""

import asyncio
import datetime
import decimal
import ssl
import sys

import asyncpg
import common

LARGE = bytes(range(256)) * 8192  # 2 MiB


async def values(connection):
    given = (
        1 << 40,
        1.5,
        "text",
        LARGE,
        datetime.date(2000, 2, 29),
        decimal.Decimal("1.10"),
        [1, 2, None],
        None,
    )
    row = await connection.fetchrow(
        "SELECT $1::int8, $2::float8, $3::text, $4::bytea, $5::date, $6::numeric, $7::int4[], $8::text",
        *given,
    )
    assert tuple(row) == given
    try:
        await connection.fetch("SELECT 1 / 0")
    except asyncpg.DivisionByZeroError:
        pass
    else:
        raise AssertionError("divided by zero")
    assert await connection.fetchval("SELECT 1") == 1


async def statements(connection):
    await connection.execute("CREATE TEMPORARY TABLE numbers (n int PRIMARY KEY, square int)")
    rows = [(n, n * n) for n in range(5000)]
    await connection.executemany("INSERT INTO numbers VALUES ($1, $2)", rows[:1000])
    await connection.copy_records_to_table("numbers", records=rows[1000:])
    assert await connection.fetchval("SELECT count(*) FROM numbers") == 5000

    statement = await connection.prepare("SELECT square FROM numbers WHERE n = $1")
    assert [await statement.fetchval(n) for n in range(200)] == [n * n for n in range(200)]

    async with connection.transaction():
        cursor = connection.cursor("SELECT n, square FROM numbers ORDER BY n", prefetch=100)
        assert [tuple(row) async for row in cursor] == rows

    class Undo(Exception):
        pass

    try:
        async with connection.transaction():
            await connection.execute("DELETE FROM numbers")
            raise Undo
    except Undo:
        assert await connection.fetchval("SELECT count(*) FROM numbers") == 5000

    copied = []

    async def take(data):
        copied.append(bytes(data))

    await connection.copy_from_query("SELECT n FROM numbers ORDER BY n", output=take)
    assert b"".join(copied).split() == [str(n).encode() for n in range(5000)]
    await connection.execute("DROP TABLE numbers")


async def notifications(connection, other):
    heard = asyncio.Queue()
    await connection.add_listener("channel", lambda *event: heard.put_nowait(event[-1]))
    for number in range(50):
        await other.execute("SELECT pg_notify('channel', $1)", str(number))
    assert [await heard.get() for _ in range(50)] == [str(number) for number in range(50)]


async def interrupted(connection):
    """A query that is cancelled is cancelled in the server, and the connection remains of use."""
    running = asyncio.create_task(connection.fetch("SELECT pg_sleep(1000)"))
    # One turn of the loop sends the query; the request to cancel it goes over a connection of its own.
    await asyncio.sleep(0)
    running.cancel()
    results = await asyncio.gather(running, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError), results
    assert await connection.fetchval("SELECT 2") == 2
    try:
        await connection.fetch("SELECT pg_sleep(1000)", timeout=0.05)
    except TimeoutError:
        pass
    else:
        raise AssertionError("slept for 1000 seconds")
    assert await connection.fetchval("SELECT 3") == 3


async def pool(options):
    async with asyncpg.create_pool(min_size=2, max_size=5, **options) as pool:
        numbers = await asyncio.gather(*(pool.fetchval("SELECT $1::int", n) for n in range(200)))
        assert numbers == list(range(200))
        async with pool.acquire() as connection, connection.transaction():
            assert await connection.fetchval("SELECT 1") == 1


async def main():
    folder, port, authority = sys.argv[1:]
    account = {"user": "tester", "database": "postgres", "port": int(port)}
    trusting = ssl.create_default_context(cafile=authority)
    for options in (
        {"host": folder, **account},
        {"host": "127.0.0.1", "ssl": False, **account},
        {"host": "127.0.0.1", "ssl": trusting, **account},
    ):
        connection = await asyncpg.connect(**options)
        other = await asyncpg.connect(**options)
        try:
            encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            assert await connection.fetchval(encrypted) is isinstance(options.get("ssl"), ssl.SSLContext)
            await values(connection)
            await statements(connection)
            await notifications(connection, other)
            await interrupted(connection)
        finally:
            await connection.close()
            await other.close()
        await pool(options)


common.run(main)
