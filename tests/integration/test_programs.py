"""Programs on real libraries and servers, each under stock asyncio, on the C loop, and patched.

A program asserts everything itself (see programs/): that it runs under stock asyncio shows that it is right.
"""

import sys

import pytest

from . import support


@pytest.fixture(params=support.MODES)
def mode(request):
    return request.param


@pytest.fixture(params=(*support.MODES, *support.TLS_MODES))
def tls_mode(request):
    return request.param


def check(name, mode, *arguments):
    assert support.run_program(name, mode, *arguments) == "passed\n"


def test_subprocess_pipeline(mode):
    check("pipeline", mode)


@support.needs("uvicorn", "httptools", "starlette", "httpx", "aiohttp", "websockets")
def test_starlette_on_uvicorn(mode):
    check("starlette_web", mode)


@support.needs("aiohttp", "trustme")
def test_aiohttp_with_tls(tls_mode):
    check("aiohttp_tls", tls_mode)


@support.needs("truststore", "trustme")
def test_truststore(tls_mode):
    check("truststore_streams", tls_mode)


@support.needs("websockets", "trustme")
def test_websockets_both_ways(tls_mode):
    check("websockets_both_ways", tls_mode)


@support.needs("redis")
def test_redis(mode, redis_server):
    check("redis_client", mode, *map(str, redis_server))


@support.needs("asyncpg", "trustme")
def test_postgres(tls_mode, postgres_server):
    check("postgres_client", tls_mode, *map(str, postgres_server))


@support.needs("pytest_socket")
def test_sockets_guarded_by_pytest_socket(mode):
    check("guarded_sockets", mode)


@support.needs("mocket", "socks")
def test_sockets_of_pysocks_and_mocket(mode):
    check("imitated_sockets", mode)


@support.needs("tornado")
def test_tornado(mode):
    check("tornado_web", mode)


@support.needs("anyio", "trustme")
def test_anyio(tls_mode):
    check("anyio_tools", tls_mode)


@support.needs("looptime", "aiotools")
def test_virtual_clocks(mode):
    check("virtual_clocks", mode)


@support.needs("gevent")
def test_gevent(mode):
    check("gevent_greenlets", mode)


@support.needs("asynkit")
def test_asynkit(mode):
    check("asynkit_order", mode)


@support.needs("async_solipsism")
def test_async_solipsism(mode):
    check("own_universe", mode)


@support.needs("freezegun", "time_machine")
def test_freezegun_and_time_machine(mode):
    check("replaced_clocks", mode)


@support.needs("ddtrace")
def test_ddtrace(mode):
    check("traced_by_ddtrace", mode)


@support.needs("opentelemetry.instrumentation.asyncio", "opentelemetry.sdk")
def test_opentelemetry(mode):
    check("traced_by_opentelemetry", mode)


@support.needs("sentry_sdk")
def test_sentry(mode):
    check("watched_by_sentry", mode)


@support.needs("aspectlib", "wrapt")
def test_wrapt_and_aspectlib(mode):
    check("wrapped_functions", mode)


@support.needs("pyinstrument")
def test_pyinstrument(mode):
    check("profiled_by_pyinstrument", mode)


TESTS_WITH_LOOPTIME = """
import asyncio, os, time, pytest

@pytest.mark.asyncio
@pytest.mark.looptime
async def test_time_that_is_compacted(looptime):
    started = time.monotonic()
    await asyncio.sleep(100_000)
    assert looptime == 100_000 and time.monotonic() - started < 100
    assert type(asyncio.get_running_loop()).__mro__[2].__module__.startswith(os.environ["EXPECTED_LOOP"])

@pytest.mark.asyncio
async def test_plugin_is_there_and_not_asked():
    await asyncio.sleep(0.001)
"""


@support.needs("looptime", "pytest_asyncio")
def test_looptime_with_pytest_asyncio(mode, tmp_path):
    """looptime patches every loop that pytest-asyncio makes, also for tests that do not ask for it."""
    options, loop, task = support.MODES[mode]
    file = tmp_path / "test_looptime.py"
    file.write_text(TESTS_WITH_LOOPTIME)
    command = [sys.executable, *options, "-m", "pytest", "-q", "-p", "no:cacheprovider", file]
    environment = support.environment(EXPECTED_LOOP=loop, EXPECTED_TASK=task)
    with support.Process(command, env=environment, cwd=tmp_path) as process:
        status, output = process.finish()
        assert status == 0 and "2 passed" in output, process.report()
