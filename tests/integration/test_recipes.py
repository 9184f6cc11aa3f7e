"""The recipes of docs/frameworks.md, run as they stand there; and with asyncio in place of asyncio_c, to show that the tests are right.

A server is started by the recipe's command or code on a free port, answers with the package of the loop it runs on, and is
stopped by a signal.
"""

import contextlib
import re
import shlex
import signal
import socket
import sys
import urllib.request

import pytest

from . import recipes, support

ASGI_APP = """
import asyncio
import sys

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for _ in ("startup", "shutdown"):
            event = (await receive())["type"]
            print(event, flush=True)
            await send({"type": f"{event}.complete"})
            # A worker of uvicorn says that its startup is complete, and listens some turns later.
            for _ in range(20):
                await asyncio.sleep(0)
            sys.stdout.write(f"{event.partition('.')[2]} is over\\n")  # at once: another worker writes there, too
    else:
        package = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(package))]})
        await send({"type": "http.response.body", "body": package.encode()})
"""

AIOHTTP_SERVER = """
import asyncio
import functools
import asyncio_c
from aiohttp import web

async def hello(request):
    return web.Response(text=type(asyncio.get_running_loop()).__module__.partition(".")[0])

async def closing(app):
    print("lifespan.shutdown")

app = web.Application()
app.add_routes([web.get("/", hello)])
app.on_cleanup.append(closing)
web.run_app = functools.partial(web.run_app, host="127.0.0.1", port=0)  # 8080 may be in use
"""

AIOHTTP_CLIENT = """
import asyncio
import sys
import aiohttp
import asyncio_c

async def main():
    async with aiohttp.ClientSession() as client, client.get(sys.argv[1]) as answer:
        print(type(asyncio.get_running_loop()).__module__, await answer.text())
"""

TORNADO_SERVER = """
import asyncio
import asyncio_c
import tornado.web

class Hello(tornado.web.RequestHandler):
    async def get(self):
        self.write(type(asyncio.get_running_loop()).__module__.partition(".")[0])

class Application(tornado.web.Application):
    def listen(self, port):
        server = super().listen(0, "127.0.0.1")  # port may be in use
        (listener,) = server._sockets.values()
        print(f"Listening at http://127.0.0.1:{listener.getsockname()[1]}", flush=True)

app = Application([("/", Hello)])
"""

ANYIO = """
import asyncio
import anyio
import asyncio_c

async def main():
    with anyio.move_on_after(0) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0)
    assert await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(anyio.sleep, 0)) is None
    print(type(asyncio.get_running_loop()).__module__)
"""

ANYIO_TESTS = """
import asyncio
import anyio
import pytest

pytestmark = pytest.mark.anyio

@pytest.fixture
async def made():
    yield asyncio.get_running_loop()

async def test_loop(made):
    assert made is asyncio.get_running_loop()
    assert type(made).__module__.partition(".")[0] == "PACKAGE"
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0)

async def test_failing():
    assert not asyncio.get_running_loop().is_running()
"""

PYTEST_ASYNCIO_TESTS = ANYIO_TESTS.replace("pytest.mark.anyio", "pytest.mark.asyncio").replace(
    "@pytest.fixture", "import pytest_asyncio\n\n@pytest_asyncio.fixture"
)


@pytest.fixture(params=["asyncio", "asyncio_c"])
def package(request):
    """The package whose loop a recipe is tried with."""
    return request.param


def check_server(command, package, folder, number, status, *more_lines):
    """Start a server in folder, ask it for its loop, stop it by a signal, and check how it ends.

    more_lines: what it says, after its address, before all of its workers are ready.
    """
    # gunicorn keeps a socket in the home folder.
    env = support.environment(HOME=str(folder))
    with support.Process(command, env=env, cwd=folder, merge_errors=True) as server:
        address = server.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        for line in more_lines:
            server.wait_for(line)
        for _ in range(3):
            with urllib.request.urlopen(address, timeout=support.TIMEOUT_S) as answer:
                assert answer.read().decode() == package
        ended, output = server.stop(number)
        assert ended == status, server.report()
    return output


def shell_words(block, *more):
    """Return a command line of the page as what env(1) runs, with more arguments."""
    return ["env", *shlex.split(block), *more]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)], ids=["SIGINT", "SIGTERM"]
)
@support.needs("uvicorn")
def test_uvicorn(package, tmp_path, number, status):
    (tmp_path / "app.py").write_text(ASGI_APP)
    (command,) = recipes.blocks("uvicorn", package)
    output = check_server(shell_words(command, "--port", "0"), package, tmp_path, number, status)
    assert "lifespan.shutdown" in output


@support.needs("uvicorn")
def test_uvicorn_with_workers(package, tmp_path):
    (tmp_path / "app.py").write_text(ASGI_APP)
    (command,) = recipes.blocks("uvicorn", package)
    command = shell_words(command, "--port", "0", "--workers", "2")
    output = check_server(command, package, tmp_path, signal.SIGTERM, 0, *["startup is over"] * 2)
    assert output.count("lifespan.shutdown") == 2


# Not SIGINT: this worker, on stock asyncio too, ignores the SIGQUIT that gunicorn then sends.
@support.needs("gunicorn", "uvicorn_worker")
def test_gunicorn(package, tmp_path):
    (tmp_path / "app.py").write_text(ASGI_APP)
    worker, command = recipes.blocks("gunicorn", package)
    (tmp_path / "worker.py").write_text(worker)
    command = shell_words(command, "--bind", "127.0.0.1:0", "--workers", "2")
    output = check_server(command, package, tmp_path, signal.SIGTERM, 0, *["startup complete"] * 2)
    assert output.count("lifespan.shutdown") == 2


# One worker, its default: of several, it kills those that are slower to shut down than the first.
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@support.needs("hypercorn")
def test_hypercorn(package, tmp_path, number):
    (tmp_path / "app.py").write_text(ASGI_APP)
    (command,) = recipes.blocks("hypercorn", package)
    command = shell_words(command, "--bind", "127.0.0.1:0")
    output = check_server(command, package, tmp_path, number, 0)
    assert "lifespan.shutdown" in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@support.needs("aiohttp")
def test_aiohttp_server(package, tmp_path, number):
    (recipe,) = recipes.blocks("aiohttp", package)
    (tmp_path / "server.py").write_text(AIOHTTP_SERVER + recipe)
    output = check_server([sys.executable, "server.py"], package, tmp_path, number, 0)
    assert "lifespan.shutdown" in output


@support.needs("tornado")
def test_tornado(package, tmp_path):
    (recipe,) = recipes.blocks("Tornado", package)
    (tmp_path / "server.py").write_text(TORNADO_SERVER + recipe)
    command = [sys.executable, "server.py"]
    output = check_server(command, package, tmp_path, signal.SIGINT, -signal.SIGINT)
    assert output.endswith("KeyboardInterrupt\n")


def check_pytest(folder, package, conftest, tests, *options):
    """Run pytest, with warnings as errors, on a test that passes only on the loop of package and on one that fails."""
    (folder / "conftest.py").write_text(f"import asyncio\nimport asyncio_c\nimport pytest\n\n{conftest}")
    (folder / "test_generated.py").write_text(tests.replace("PACKAGE", package))
    # The plugins that other tests of this folder need would take part in this one.
    others = ["-p", "no:looptime_plugin", "-p", "no:socket"]
    command = [sys.executable, "-m", "pytest", "-W", "error", *others, "--rootdir", folder, *options]
    with support.Process(command, cwd=folder, merge_errors=True) as process:
        status, output = process.finish()
        assert status == 1, process.report()
    assert re.search(r"^=+ 1 failed, 1 passed in ", output, re.MULTILINE), output
    assert re.search(r"^FAILED test_generated.py::test_failing\b", output, re.MULTILINE), output


@support.needs("anyio")
def test_anyio_plugin(package, tmp_path):
    _, fixture = recipes.blocks("anyio", package)
    check_pytest(tmp_path, package, fixture, ANYIO_TESTS, "-p", "no:asyncio")


@support.needs("pytest_asyncio", "anyio")
def test_pytest_asyncio(package, tmp_path):
    (hook,) = recipes.blocks("pytest-asyncio", package)
    scope = "asyncio_default_fixture_loop_scope=function"  # which the plugin wants to be told
    check_pytest(tmp_path, package, hook, PYTEST_ASYNCIO_TESTS, "-p", "no:anyio", "-o", scope)


DASK_PROGRAM = """
import distributed

def loop_of(server):
    return type(server.loop.asyncio_loop).__module__.partition(".")[0]

if __name__ == "__main__":
    with distributed.Client(scheduler_file="cluster.json") as client:
        client.wait_for_workers(2)
        squares = client.map(lambda number: number**2, range(100))
        assert client.submit(sum, squares).result() == 328350
        loops = [*client.run(lambda dask_worker: loop_of(dask_worker)).values()]
        loops.append(client.run_on_scheduler(lambda dask_scheduler: loop_of(dask_scheduler)))
        print(*loops, loop_of(client))
        client.shutdown()
"""


@support.needs("distributed")
def test_dask(package, tmp_path):
    scheduler, worker = recipes.blocks("Dask distributed", package)
    local = ("--host", "127.0.0.1", "--no-dashboard")
    env = support.environment(**({"ASYNCIO_C": "1"} if package == "asyncio_c" else {}))
    with contextlib.ExitStack() as stack:

        def start(block, *more):
            command = shell_words(block, *local, *more)
            return stack.enter_context(support.Process(command, cwd=tmp_path, merge_errors=True))

        servers = [start(scheduler, "--port", "0")]
        servers[0].wait_for("Scheduler at:")
        servers += [start(worker, "--nthreads", "1") for _ in range(2)]
        (tmp_path / "program.py").write_text(DASK_PROGRAM)
        command = [sys.executable, "program.py"]
        with support.Process(command, env=env, cwd=tmp_path, merge_errors=True) as program:
            status, output = program.finish()
            assert status == 0, program.report()
        assert output.split() == [package] * 4
        for server in servers:
            assert server.finish()[0] == 0, server.report()


REUSING_APP = """
import asyncio
import os

async def app(scope, receive, send):
    if scope["type"] == "http":
        package = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        body = f"{package} {os.getpid()}".encode()
        head = [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})
"""


def check_reused_port(command, package, folder):
    """Start a command, in which port 8000 is one that is free, in two processes, and see that the kernel gives work to each."""
    (folder / "app.py").write_text(REUSING_APP)
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(socket.socket())  # it does not listen, and keeps the port from others
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        port = str(held.getsockname()[1])
        command = [word.replace("8000", port) for word in command]
        env = support.environment(HOME=str(folder))
        for _ in range(2):
            server = stack.enter_context(support.Process(command, env=env, cwd=folder, merge_errors=True))
            server.wait_for("startup complete")
        seen = set()
        for _ in range(200):  # of which all would come to one process once in 2**199 times
            with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=support.TIMEOUT_S) as answer:
                seen.add(answer.read().decode())
            if len(seen) == 2:
                break
        assert [answer.split()[0] for answer in seen] == [package] * 2


@support.needs("uvicorn")
def test_several_uvicorns_on_one_port(package, tmp_path):
    program, _ = recipes.blocks("Several processes on one port", package)
    check_reused_port([sys.executable, "-c", program], package, tmp_path)


@support.needs("gunicorn", "uvicorn_worker")
def test_several_gunicorns_on_one_port(package, tmp_path):
    _, command = recipes.blocks("Several processes on one port", package)
    worker, _ = recipes.blocks("gunicorn", package)
    (tmp_path / "worker.py").write_text(worker)
    check_reused_port(shell_words(command), package, tmp_path)


def run_script(folder, code, *arguments):
    """Run code and return what it printed."""
    (folder / "script.py").write_text(code)
    with support.Process([sys.executable, "script.py", *arguments], cwd=folder) as process:
        status, output = process.finish()
        assert (status, process.errors()) == (0, ""), process.report()
    return output


@support.needs("anyio")
def test_anyio_run(package, tmp_path):
    run, _ = recipes.blocks("anyio", package)
    assert run_script(tmp_path, ANYIO + run).partition(".")[0] == package


@support.needs("aiohttp")
def test_aiohttp_client(package, tmp_path):
    (inline,) = re.findall(r"A client needs no more than `(.*)`", recipes.PAGE)
    run = inline if package == "asyncio_c" else recipes.for_stock(inline)
    (tmp_path / "server.py").write_text(AIOHTTP_SERVER + recipes.RECIPES["aiohttp"][0])
    with support.Process([sys.executable, "server.py"], cwd=tmp_path) as server:
        address = server.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        loop, answer = run_script(tmp_path, AIOHTTP_CLIENT + run, address).split()
        assert (loop.partition(".")[0], answer) == (package, "asyncio_c")
        assert server.stop(signal.SIGTERM)[0] == 0


def test_all_recipes_are_tried():
    tried = {
        "uvicorn": 1,
        "gunicorn": 2,
        "hypercorn": 1,
        "aiohttp": 1,
        "anyio": 2,
        "pytest-asyncio": 1,
        "Tornado": 1,
        "Dask distributed": 2,
        "Several processes on one port": 2,
    }
    assert {name: len(blocks) for name, blocks in recipes.RECIPES.items()} == tried
