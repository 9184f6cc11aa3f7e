"""debugpy, with the rule that docs/ways-in.md gives, and without it."""

import json
import pathlib
import socket
import sys

import pytest

import asyncio_c

from . import support

SCRIPT = """\
import asyncio, asyncio_c, debugpy
print(debugpy.listen(("127.0.0.1", 0))[1], flush=True)
debugpy.wait_for_client()
async def main():
    result = 1
    await asyncio.sleep(0)
    return result
asyncio_c.run(main())
print("done")
"""
BREAKPOINT = 5
RULE = {"module": "asyncio_c", "include": False}


class Client:
    """Speaks the Debug Adapter Protocol: what an editor does."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=support.TIMEOUT_S)
        self._file = self._socket.makefile("rwb")
        self._requests = 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._file.close()
        self._socket.close()

    def send(self, command, **arguments):
        self._requests += 1
        message = {
            "seq": self._requests,
            "type": "request",
            "command": command,
            "arguments": arguments,
        }
        text = json.dumps(message).encode()
        self._file.write(b"Content-Length: %d\r\n\r\n%b" % (len(text), text))
        self._file.flush()
        return self._requests

    def receive(self):
        length = 0
        while line := self._file.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return json.loads(self._file.read(length))

    def event(self, *names):
        while (message := self.receive()).get("event") not in names:
            pass
        return message

    def answer(self, request):
        while (message := self.receive()).get("request_seq") != request:
            pass
        return message["body"]


def files_stepped_through(folder, rules):
    """Step over line by line from the breakpoint to the end; return the file and line of each stop."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    stops = []
    with support.Process([sys.executable, "-X", "frozen_modules=off", script]) as process:
        with Client(int(process.wait_for(r"^\d+$")[0])) as client:
            client.send("initialize", adapterID="tests", pathFormat="path", linesStartAt1=True)
            client.send("attach", justMyCode=True, rules=rules)
            client.event("initialized")
            client.send("setBreakpoints", source={"path": str(script)}, breakpoints=[{"line": BREAKPOINT}])
            client.send("configurationDone")
            while (event := client.event("stopped", "terminated"))["event"] == "stopped":
                thread = event["body"]["threadId"]
                request = client.send("stackTrace", threadId=thread, levels=1)
                (frame,) = client.answer(request)["stackFrames"]
                stops.append((pathlib.Path(frame["source"]["path"]), frame["line"]))
                client.send("next", threadId=thread)
            client.send("disconnect")
        process.finish()
    return script, stops


@support.needs("debugpy")
def test_step_over_stays_out_of_the_loop_by_the_rule(tmp_path):
    script, stops = files_stepped_through(tmp_path, [RULE])
    assert stops[:3] == [(script, 5), (script, 6), (script, 7)]
    assert {path for path, _ in stops} == {script} and stops[-1][1] == 9


@support.needs("debugpy")
def test_rule_is_needed_where_the_package_is_no_library(tmp_path):
    """Installed by -e: debuggers take what is in site-packages for libraries."""
    if "site-packages" in asyncio_c.__file__:
        pytest.skip("the package is installed as a library")
    script, stops = files_stepped_through(tmp_path, [])
    ours = pathlib.Path(asyncio_c.__file__).parent
    assert any(path.parent == ours for path, _ in stops)


def test_the_readme_has_this_rule():
    assert f'"rules": [{json.dumps(RULE)}]' in (support.ROOT / "docs" / "ways-in.md").read_text()
