"""The table of other event loops: which tests count, what becomes of a process that dies, and the words for it."""

import contextlib
import fcntl
import os
import sys
import types
import unittest

import pytest

from . import peers

HANGS = "import faulthandler, time; faulthandler.dump_traceback_later(0.01, exit=True); time.sleep(600)"


def says_something_of_a_loop(self):
    self.loop.call_soon(self.transport.close)


def looks_into_a_loop(self):
    self.loop._add_reader(0, None)


def looks_into_a_transport(self):
    self.transport._sock.close()


def replaces_what_is_of_asyncio(self):
    from unittest import mock

    with mock.patch("asyncio.base_events.logger"):
        pass


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        (says_something_of_a_loop, ""),
        (looks_into_a_loop, "its text has 'loop._a'"),
        (looks_into_a_transport, "its text has 'transport._s'"),
        (replaces_what_is_of_asyncio, "its text has 'patch'"),
    ],
)
def test_what_reaches_for_private_parts_does_not_count(test, reason):
    assert peers.reason_to_leave_out("test_server", "ServerTests", test) == reason


def test_what_is_about_asyncios_own_classes_does_not_count():
    assert peers.reason_to_leave_out("test_events", "TimerTests", says_something_of_a_loop).startswith(
        "a Timer"
    )
    assert list(peers.candidates("test_protocols")) == []


def test_each_class_that_is_left_out_is_one_of_the_suite():
    for name in peers.LEFT_OUT:
        module, _, class_name = name.partition("::")
        assert module in peers.bound_modules()
        if class_name:
            list(peers.candidates(module))
            assert f"{class_name}.loop" in peers.PLANS[module].bound


def test_what_makes_no_loop_on_asyncio_or_is_skipped_there_does_not_count():
    suite = peers.Suite(["Tests::test_a", "Tests::test_b", "Tests::test_c", "Tests::test_d"])
    done = suite.read(
        [
            {"done": "Tests::test_a", "outcome": "passed", "loops": 1},
            {"done": "Tests::test_b", "outcome": "passed", "loops": 0},
            {"done": "Tests::test_c", "outcome": "skipped", "loops": 1},
            {"done": "Tests::test_d", "outcome": "failed", "loops": 2},
            {"finished": True},
        ],
        "crashed",
    )
    assert done
    assert peers.selection(suite) == ["Tests::test_a", "Tests::test_d"]


@pytest.mark.parametrize(
    ("program", "end"), [("import os; os.abort()", "crashed"), (HANGS, "hung"), ("print('here')", "crashed")]
)
def test_how_a_process_ends(program, end):
    assert peers.ended([sys.executable, "-c", program], dict(os.environ), 60)[0] == end


def test_a_process_leaves_none_behind(tmp_path):
    lock = tmp_path / "lock"
    program = """if True:
        import fcntl, subprocess, sys
        lock = open(sys.argv[1], "w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.Popen(["sleep", "600"], pass_fds=[lock.fileno()])
    """
    peers.ended([sys.executable, "-c", program, str(lock)], dict(os.environ), 60)
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # which the other process has as long as it lives


def test_a_process_that_does_not_go_on_is_ended(tmp_path):
    record = tmp_path / "record"
    record.touch()
    program = "import time; time.sleep(600)"
    assert peers.ended([sys.executable, "-c", program], dict(os.environ), 0.1, record) == ("hung", "")


def test_what_dies_again_and_again_is_given_up(monkeypatch):
    names = [f"Tests::test_{number:02}" for number in range(peers.DEATHS + 3)]

    def die(command, environment, limit, record):
        with record.open("a+") as file:
            file.seek(0)
            file.write(f'{{"start": "{names[len(file.readlines())]}"}}\n')
        return "crashed", "printed\n"

    monkeypatch.setattr(peers, "ended", die)
    suite = peers.run("rloop", "test_server", names, 1)
    assert list(suite.outcomes.values()) == ["crashed"] * peers.DEATHS + ["not reached"] * 3
    assert suite.printed == "printed\n" * peers.DEATHS


def test_behind_what_fails_another_process_goes_on(monkeypatch):
    names = [f"Tests::test_{number:02}" for number in range(peers.DEATHS + 3)]

    def fail(command, environment, limit, record):
        with record.open("a+") as file:
            file.seek(0)
            name = names[len(file.readlines()) // 2]
            file.write(f'{{"start": "{name}"}}\n{{"done": "{name}", "outcome": "failed", "loops": 1}}\n')
            if name == names[-1]:
                file.write('{"finished": true}\n')
        return "crashed", ""

    monkeypatch.setattr(peers, "ended", fail)
    assert set(peers.run("rloop", "test_server", names, 1).outcomes.values()) == {"failed"}


class Fails(unittest.TestCase):
    __test__ = False
    conformance = types.SimpleNamespace(
        active=contextlib.nullcontext, foreign_objects=lambda: contextlib.nullcontext([])
    )

    def test_a(self):
        pass

    def test_b(self):
        self.fail("on purpose")

    test_c = test_a


@pytest.mark.parametrize(
    ("names", "end"),
    [("abc", [("a", "passed"), ("b", "failed")]), ("ac", [("a", "passed"), ("c", "passed"), None])],
)
def test_a_process_ends_with_the_test_that_fails(monkeypatch, names, end):
    lines = []
    monkeypatch.setattr(peers.whole, "record", lambda **line: lines.append(line))
    monkeypatch.setattr(peers.whole.Recorder, "hang", 60)
    monkeypatch.setattr(peers.suite_utils.TestCase, "close_loop", None)
    monkeypatch.setattr(peers, "PLANS", {"test_context": types.SimpleNamespace(bound={"Fails.loop": Fails})})
    peers.run_suite("test_context", "loop", [f"Fails::test_{name}" for name in names], 60)
    ends = [line for line in lines if "start" not in line]
    assert [("finished" not in line and (line["done"][-1], line["outcome"])) or None for line in ends] == end


def test_a_process_that_runs_no_test_is_not_repeated(monkeypatch):
    ran = []
    monkeypatch.setattr(peers, "ended", lambda *arguments: ran.append(arguments) or ("crashed", ""))
    assert peers.run("rloop", "test_server", ["Tests::test_a"], 1).outcomes == {
        "Tests::test_a": "not reached"
    }
    assert len(ran) == 1


def test_a_suite_runs_on_asyncio_and_on_ours():
    names = list(peers.candidates("test_context"))
    assert names
    on_asyncio = peers.run("asyncio", "test_context", names, 60)
    assert peers.selection(on_asyncio) == names, on_asyncio.printed
    for loop in peers.OURS:
        suite = peers.run(loop, "test_context", names, 60)
        assert set(suite.outcomes.values()) == {"passed"}, suite.printed
        assert not suite.made  # of asyncio's


def test_what_passes_on_asyncios_own_loop_is_a_failure():
    recorder = peers.recorder("Tests::test_a", ["_UnixSelectorEventLoop"])
    result = recorder(peers.unittest.runner._WritelnDecorator(sys.stderr), True, 0)
    result.outcome = "passed"
    result.settle("Tests::test_a")
    assert result.outcome == "failed"


def test_the_table_says_in_words_what_did_not_pass():
    good = {"test_a": {"passed": 3}, "test_b": {"passed": 2}}
    bad = {"test_a": {"passed": 1, "failed": 1, "crashed": 1}, "test_b": {"hung": 1, "not reached": 1}}
    result = {
        "python": "3.13.0",
        "system": "Linux",
        "date": "1 May 2026",
        "loops": {"asyncio": {"version": "", "suites": good}, "zloop": {"version": "1.2", "suites": bad}},
        "missing": ["rsloop"],
    }
    assert peers.table([result]).splitlines() == [
        "| CPython 3.13.0 | passed | of | other than that |",
        "| --- | --- | --- | --- |",
        "| asyncio | 5 | 5 |  |",
        "| zloop 1.2 | 1 | 5 | 1 failed, crashed in 1 suite (1 test), hung in 1 suite (1 test), 1 not reached |",
        "| rsloop | not installed | | |",
        "",
        "By suite, passed, on CPython 3.13.0.",
        "",
        "| suite | tests | asyncio | zloop |",
        "| --- | --- | --- | --- |",
        "| test_a | 3 | 3 | 1 |",
        "| test_b | 2 | 2 | 0 |",
    ]


def test_unknown_loops_and_suites_are_refused(capsys):
    for arguments in (["--loops", "trio"], ["test_nothing"]):
        with pytest.raises(SystemExit):
            peers.main(arguments)
    assert "unknown: trio" in capsys.readouterr().err
