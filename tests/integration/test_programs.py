"""Programs on real libraries and servers, each under stock asyncio, on the C loop, and patched.

A program asserts everything itself (see programs/): that it runs under stock asyncio shows that it is right.
"""

import pytest

from . import support


@pytest.fixture(params=support.MODES)
def mode(request):
    return request.param


def check(name, mode, *arguments):
    assert support.run_program(name, mode, *arguments) == "passed\n"


def test_subprocess_pipeline(mode):
    check("pipeline", mode)


@support.needs("uvicorn", "httptools", "starlette", "httpx", "aiohttp", "websockets")
def test_starlette_on_uvicorn(mode):
    check("starlette_web", mode)


@support.needs("aiohttp", "trustme")
def test_aiohttp_with_tls(mode):
    check("aiohttp_tls", mode)


@support.needs("websockets", "trustme")
def test_websockets_both_ways(mode):
    check("websockets_both_ways", mode)


@support.needs("redis")
def test_redis(mode, redis_server):
    check("redis_client", mode, *map(str, redis_server))


@support.needs("asyncpg", "trustme")
def test_postgres(mode, postgres_server):
    check("postgres_client", mode, *map(str, postgres_server))


@support.needs("tornado")
def test_tornado(mode):
    check("tornado_web", mode)


@support.needs("anyio", "trustme")
def test_anyio(mode):
    check("anyio_tools", mode)
