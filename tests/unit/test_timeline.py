"""The pictures of recordings that are made up event by event, and python -m asyncio_c --timeline."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from same_output import ROOT, environment, run

import asyncio_c
from asyncio_c.monitor import timeline
from asyncio_c.monitor.recording import Recording
from tests.differential import virtual_clock

MADE, QUEUED, BEGINS, ENDS, CANCELS = range(5)
BY_TIMER = 1
WAITS, RESULT, EXCEPTION, CANCELLED = 1, 2, 3, 4
MS = 1_000_000


def identity(number, name=None, function="work"):
    return (number, name or f"Task-{number}", function, "program.py:1")


class Events:
    """Events of tasks at given milliseconds."""

    def __init__(self):
        self.events = []

    def add(self, ms, kind, detail, who, what=None):
        self.events.append((int(ms * MS), kind, detail, 1, who[0], who, what))

    def task(self, who, made, steps, outcome=RESULT, error=None, function=""):
        """A task with steps `(begin, end, what it waits for then)`, in a function; the last one ends it."""
        self.add(made, MADE, 0, who)
        self.add(made, QUEUED, 0, who)
        for index, (begin, end, what) in enumerate(steps):
            if index > 0:
                self.add(begin, QUEUED, BY_TIMER, who)
            self.add(begin, BEGINS, 0, who)
            is_last = index == len(steps) - 1
            self.add(
                end,
                ENDS,
                outcome if is_last else WAITS,
                who,
                error if is_last else ("sleep", what, "program.py:2", function),
            )

    def recording(self, end, dropped=0):
        return Recording(sorted(self.events, key=lambda event: event[0]), 0, end * MS, dropped)


def one_after_the_other():
    events = Events()
    events.task(
        identity(1, function="main"),
        0,
        [(0, 0.02, "sleep(1)"), (1000, 1000.02, "sleep(2)"), (3000, 3000.02, "")],
    )
    return events.recording(3001)


# ---- text ----


def bars(text):
    """Return the lines from the first row to the axis, without the labels."""
    lines = text.splitlines()
    axis = next(index for index, line in enumerate(lines) if "┴" in line)
    return lines[lines.index("") + 1 : axis + 1]


def test_waits_have_their_length_and_short_steps_are_seen():
    text = one_after_the_other().text(80)
    bar = bars(text)[0]
    assert bar.startswith("Task-1 main ┃") and bar.endswith("┃✓")
    first, second = re.findall(r"┃(─+ sleep\(.\) ─+)", bar)
    assert 1.8 < len(second) / len(first) < 2.2
    assert "sleep(1)" in first and "sleep(2)" in second
    assert text.splitlines()[0] == "asyncio timeline: 1 task, 3.00 s"
    assert "ran 60.0 us in 3 steps; waited 2.00 s for sleep(2), woken by a timer" in text


@pytest.mark.parametrize("width", [40, 60, 80, 133, 200])
def test_rows_are_as_wide_as_asked(width):
    bar, axis = bars(one_after_the_other().text(width))
    assert width - 2 <= len(bar) <= width
    assert len(axis) <= width


def test_long_steps_and_ready_tasks():
    events = Events()
    events.task(identity(1, "blocks"), 0, [(0, 800, "")])
    events.task(identity(2, "late"), 100, [(800, 1000, "")])
    blocks, late = bars(events.recording(1000).text(80))[:2]
    assert re.fullmatch(r"blocks work █{50,}✓", blocks)
    assert re.fullmatch(r"late work +░{40,}┃?█{10,}✓", late)
    assert len(late.rstrip("█✓┃")) in (len(blocks) - 1, len(blocks) - 2)


@pytest.mark.parametrize(
    ("outcome", "error", "mark", "words"),
    [
        (EXCEPTION, "ValueError: no", "✗", "failed: ValueError: no"),
        (CANCELLED, None, "⊘", "was cancelled"),
        (RESULT, None, "✓", "ran 1.00 s in 1 step"),
    ],
)
def test_how_it_ended(outcome, error, mark, words):
    events = Events()
    events.task(identity(1), 0, [(0, 1000, "")], outcome, error)
    text = events.recording(1000).text()
    assert bars(text)[0].endswith(mark) and words in text


def test_a_wait_says_in_which_function_where_there_is_room():
    events = Events()
    steps = [(0, 1, "sleep(1)"), (700, 701, "sleep(2)"), (900, 901, "sleep(3)"), (1000, 1000, "")]
    events.task(identity(1), 0, steps, function="main.<locals>.brew_coffee")
    recording = events.recording(1000)
    text = recording.text(80)
    assert (
        "─ sleep(1) in brew_coffee ─" in bars(text)[0]
        and " in brew" not in bars(text)[0].partition("sleep(2)")[2]
    )
    assert "waited 699 ms for sleep(1) in brew_coffee, woken by a timer" in text
    svg = recording.svg()
    assert ">sleep(1) in brew_coffee</text>" in svg and ">sleep(3)</text>" in svg
    waits = [event for event in check_trace(recording.chrome_trace()) if event["name"] == "sleep(1)"]
    assert waits[0]["args"]["in"] == "main.<locals>.brew_coffee"


def test_the_legend_has_what_is_drawn():
    text = one_after_the_other().text(100)
    assert text.splitlines()[5] == "┃ runs briefly  ─ waits  ✓ done"
    events = Events()
    events.task(identity(1), 0, [(0, 500, "")], EXCEPTION, "ValueError")
    events.task(identity(2), 0, [(500, 1000, "")], CANCELLED)
    legend = events.recording(1000).text(100, ascii=True).splitlines()[6]
    assert legend == "# runs  . ready, not its turn yet  ! failed  x cancelled"


def test_plain_characters():
    text = one_after_the_other().text(80, ascii=True)
    assert text.isascii() and "|" in text and "-- sleep(1) --" in text


def test_colours_change_nothing_else():
    recording = one_after_the_other()
    painted = recording.text(80, colour=True)
    assert "\x1b[" in painted
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == recording.text(80)


def test_a_full_ring_is_told():
    events = Events()
    events.task(identity(1), 500, [(500, 1000, "")])
    text = events.recording(1000, dropped=1234).text()
    assert "its oldest 1,234 events were dropped" in text


def test_nothing_recorded():
    assert Recording().text().endswith("No task ran on a loop of asyncio_c.")


def many():
    events = Events()
    events.task(identity(1, function="main"), 0, [(0, 1, "gather"), (1000, 1001, "")])
    for number in range(2, 3002):
        end = number / 4
        outcome, error = RESULT, None
        if number == 50:
            outcome, error = EXCEPTION, "OSError: gone"
        elif number == 60:
            outcome = CANCELLED
        end += 200 if number == 70 else 0
        steps = [(1, 1.001, "sleep(1)"), (end, end + (20 if number == 80 else 0.001), "")]
        events.task(identity(number, function="worker"), 0.5, steps, outcome, error)
    return events.recording(1001)


def test_many_tasks_are_groups_with_their_most_telling():
    text = many().text(100)
    lines = text.splitlines()
    assert len(lines) < 40
    assert any(line.startswith("3,000 x worker") for line in lines)
    assert "2,998 done, 1 failed, 1 cancelled" in text
    for number in (50, 60, 80):  # failed, cancelled, ran longest
        assert any(line.startswith(f"  Task-{number} ") for line in lines), number


def test_many_functions():
    events = Events()
    for number in range(1, 201):
        function = f"function{number // 2}"
        events.task(identity(number, function=function), number, [(number, number + 1, "")])
    text = events.recording(300).text(100)
    assert len(text.splitlines()) < 70 and "other tasks are not shown" in text


# ---- SVG ----

SVG = "{http://www.w3.org/2000/svg}"


def elements(recording, name):
    return list(ElementTree.fromstring(recording.svg()).iter(SVG + name))


def blocks(recording, word):
    """Return (x, width) of each rectangle whose hover text has a word."""
    found = []
    for rectangle in elements(recording, "rect"):
        hover = rectangle.find(SVG + "title")
        if hover is not None and word in hover.text:
            found.append((float(rectangle.get("x")), float(rectangle.get("width"))))
    return found


def test_svg_has_each_step_and_each_wait():
    recording = one_after_the_other()
    steps, waits = blocks(recording, "\nran "), blocks(recording, "\nwaited ")
    assert [width for _, width in steps] == [3, 3, 3]  # as thin as they may be
    assert 1.95 < waits[1][1] / waits[0][1] < 2.05
    assert abs(waits[0][0] + waits[0][1] - steps[1][0]) < 0.1  # one after the other
    texts = [text.text for text in elements(recording, "text")]
    assert {"sleep(1)", "sleep(2)", "1 task, 3.00 s", "0 s", "3 s"} <= set(texts)


def test_svg_has_an_arrow_from_who_wakes():
    events = Events()
    parent, child = identity(1, "parent"), identity(2, "child")
    events.task(parent, 0, [(0, 1, "task child"), (1000, 1001, "")])
    events.task(child, 0, [(1, 999, "")])
    recording = events.recording(1002)
    recording.tasks[0].spans[2].waker = 2
    hovers = [path.find(SVG + "title") for path in elements(recording, "path")]
    texts = [hover.text for hover in hovers if hover is not None]
    assert texts == ["child work wakes parent work", "parent work makes child work"]


def test_svg_escapes():
    events = Events()
    who = (1, "<&\x00\ud800>", "a<b>", "p.py:1")
    events.task(who, 0, [(0, 1, "<wait> & see"), (900, 1000, "")], EXCEPTION, "Error: <&\x07>")
    svg = events.recording(1000).svg()
    ElementTree.fromstring(svg)
    svg.encode()


def test_svg_of_many_tasks_is_small():
    svg = many().svg()
    assert len(svg) < 100_000 and "3,000 × worker" in svg and "2,998 done" in svg


def test_svg_of_nothing():
    assert ElementTree.fromstring(Recording().svg()).tag == SVG + "svg"


@pytest.mark.parametrize(("ready", "explained"), [(0.7, False), (5, True)], ids=["a hairline", "a bar"])
def test_svg_explains_what_can_be_seen(ready, explained):
    events = Events()
    events.task(identity(1), 0, [(ready, 1000, "")])
    svg = events.recording(1000).svg()
    assert svg.count("was ready") == 1 and ("not its turn yet" in svg) is explained


def test_svg_says_what_is_missing():
    events = Events()
    events.task(identity(1), 500, [(500, 1000, "")])
    assert "oldest 12 events" in events.recording(1000, dropped=12).svg()


def test_notebooks():
    recording = one_after_the_other()
    assert recording._repr_svg_() == recording.svg()
    html = recording._repr_html_()
    assert recording.svg() in html and "<td>Task-1 main</td>" in html


# ---- Chrome trace events ----


def check_trace(trace, one_at_a_time=True):
    """Check what the format asks for; return the events behind the metadata."""
    events = json.loads(json.dumps(trace))["traceEvents"]
    metadata = [event for event in events if event["ph"] == "M"]
    rest = events[len(metadata) :]
    assert events[: len(metadata)] == metadata
    tracks = [event["tid"] for event in metadata if event["name"] == "thread_name"]
    assert len(set(tracks)) == len(tracks)
    times = [event["ts"] for event in rest]
    assert times == sorted(times) and (not times or times[0] >= 0)
    open_spans, ends, flows = {}, {}, {}
    for event in rest:
        assert event["tid"] in tracks and event["pid"] == 1 and event["name"]
        if event["ph"] == "b":
            # Without "local" Perfetto shows tasks in a group that is not of the process.
            open_spans.setdefault((event["cat"], event["id2"]["local"]), []).append(event["name"])
        elif event["ph"] == "e":  # of the span that was opened last
            assert open_spans[event["cat"], event["id2"]["local"]].pop() == event["name"]
        elif event["ph"] == "X":
            assert event["dur"] >= 0
            # Steps of one loop follow each other, but for made-up ones.
            assert event["ts"] >= ends.get(event["tid"], 0) - 0.002 or not one_at_a_time
            ends[event["tid"]] = event["ts"] + event["dur"]
        else:
            assert event["ph"] in "sf"
            flows.setdefault(event["id"], []).append(event["ph"])
    assert all(spans == [] for spans in open_spans.values())
    assert all(phases == ["s", "f"] for phases in flows.values())
    return rest


def test_trace_of_events():
    events = check_trace(one_after_the_other().chrome_trace())
    begun = [(event["name"], event["ts"]) for event in events if event["ph"] == "b"]
    assert ("Task-1 main", 0) in begun and ("sleep(2)", 1000020) in begun
    steps = [(event["ts"], event["dur"]) for event in events if event["ph"] == "X"]
    assert steps == [(0, 20), (1000000, 20), (3000000, 20)]


def test_trace_of_many():
    trace = many().chrome_trace()
    check_trace(trace, one_at_a_time=False)
    names = [event["args"]["name"] for event in trace["traceEvents"] if event["ph"] == "M"]
    assert names == ["asyncio_c", "main", "worker"]


def test_trace_of_a_program(ours):
    async def child(delay):
        await ours.sleep(delay)

    async def main():
        queue = ours.Queue()
        asyncio.get_running_loop().create_task(child(3600))
        asyncio.get_running_loop().call_later(0.001, queue.put_nowait, None)
        await queue.get()
        await ours.gather(child(0.001), child(0.002), child(0))

    with asyncio_c.record() as recording:
        ours.run(main())
    events = check_trace(recording.chrome_trace())
    assert {"Queue.get", "gather of 3", "sleep(0.002)"} <= {event["name"] for event in events}
    assert any(event["ph"] == "s" for event in events)


def test_trace_of_nothing():
    assert check_trace(Recording().chrome_trace()) == []


# ---- words ----


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0.00 us"),
        (1.234e-6, "1.23 us"),
        (0.00099949, "999 us"),
        (0.0009996, "1.00 ms"),
        (0.01234, "12.3 ms"),
        (0.9999, "1.00 s"),
        (1.005, "1.00 s"),
        (123.4, "123 s"),
        (1234.5, "1234 s"),
    ],
)
def test_seconds(value, words):
    assert timeline.seconds(value) == words


@pytest.mark.parametrize(
    ("length", "count", "expected"),
    [
        (3.0, 3, ["0 s", "1 s", "2 s", "3 s"]),
        (0.0031, 4, ["0 ms", "1 ms", "2 ms", "3 ms"]),
        (0.95, 5, ["0 s", "0.2 s", "0.4 s", "0.6 s", "0.8 s"]),
        (0.00005, 5, ["0 us", "10 us", "20 us", "30 us", "40 us", "50 us"]),
    ],
)
def test_ticks(length, count, expected):
    assert [text for _, text in timeline.ticks(length, count)] == expected


# ---- the command line ----

# How wide what is depends on the machine and what else it does: a wait may be narrower than its text, or be hidden by steps.
BAR = r"[░┃█─](.*[░┃█─])?"

PROGRAM = """\
import asyncio, sys

async def child():
    await asyncio.sleep(0.1)

async def main():
    task = asyncio.create_task(child(), name="the child")
    await task
    {end}

asyncio.run(main())
"""


def command(tmp_path, end, *options, **variables):
    (tmp_path / "program.py").write_text(PROGRAM.format(end=end))
    return subprocess.run(
        [sys.executable, "-m", "asyncio_c", *options, "program.py"],
        cwd=tmp_path,
        env={**environment(), **variables},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


@pytest.mark.parametrize(
    ("end", "status", "last"),
    [
        ("pass", 0, "✓"),
        ("sys.exit(3)", 3, "✗"),
        ("sys.exit('a reason')", 1, "✗"),
        ("1 / 0", 1, "✗"),
        ("raise KeyboardInterrupt", -signal.SIGINT, "✗"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--loop-only"]], ids=["patched", "loop_only"])
def test_timeline_of_a_program(end, status, last, options, tmp_path):
    done = command(tmp_path, end, "--timeline", *options)
    assert done.returncode == status
    first, second = bars(done.stderr[done.stderr.index("asyncio timeline") :])[:2]
    assert re.fullmatch(rf"Task-1 main +{BAR}{last}", first)
    assert re.fullmatch(rf"the child child +{BAR}✓", second)
    # What the program says comes before.
    first, second = done.stderr.splitlines()[-2:]
    assert re.match(r"Task-1 main +ran .* in 2 steps; waited .* for task the child", first)
    assert re.match(
        r"the child child +ran .* in 2 steps; waited .* for sleep\(0.1\), woken by a timer", second
    )


def test_timeline_of_a_module_and_of_code(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM.format(end="print(sys.argv[1:])"))
    done = run("-m", "asyncio_c", "--timeline", "-m", "program", "--timeline", folder=tmp_path)
    assert done.stdout == "['--timeline']\n" and "the child" in done.stderr
    done = run("-m", "asyncio_c", "--timeline", "-c", PROGRAM.format(end="pass"), folder=tmp_path)
    assert "the child" in done.stderr


def test_timeline_of_an_interrupted_program(tmp_path):
    (tmp_path / "program.py").write_text(
        PROGRAM.format(end="print('ready', flush=True); await asyncio.sleep(600)")
    )
    with subprocess.Popen(
        [sys.executable, "-m", "asyncio_c", "--timeline", "program.py"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert errors.index("KeyboardInterrupt") < errors.index("asyncio timeline")
    assert bars(errors[errors.index("asyncio timeline") :])[0].endswith("⊘")
    # The handler runs between two callbacks, or in the middle of the step.
    assert re.search("was cancelled by (a signal|Task-1)", errors)


def test_a_file_to_be_written_is_no_program(tmp_path):
    done = command(tmp_path, "pass", "--timeline", "out.svg")
    assert done.returncode == 2
    assert done.stderr == (
        "python -m asyncio_c: no program 'out.svg'; to write the timeline to it: --timeline=out.svg\n"
    )
    (tmp_path / "out.txt").write_text("print('a program')")
    done = run("-m", "asyncio_c", "--timeline", "out.txt", folder=tmp_path)
    assert done.returncode == 0 and done.stdout == "a program\n"


def test_timeline_without_a_loop(tmp_path):
    done = run("-m", "asyncio_c", "--timeline", "-c", "pass", folder=tmp_path)
    assert done.returncode == 0 and "No task ran" in done.stderr


@pytest.mark.parametrize("suffix", [".txt", ".svg", ".html", ".json"])
def test_timeline_in_a_file(suffix, tmp_path):
    done = command(tmp_path, "pass", f"--timeline=out{suffix}")
    assert done.stderr == f"asyncio_c: the timeline is in out{suffix}\n"
    text = (tmp_path / f"out{suffix}").read_text(encoding="utf-8")
    assert "the child" in text and str(tmp_path) not in text.replace("defined at", "") or suffix == ".json"
    if suffix == ".json":
        check_trace(json.loads(text))


def test_files_that_cannot_be_written(tmp_path):
    done = command(tmp_path, "print('ran')", "--timeline=out.gif")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"python -m asyncio_c: --timeline: .* not 'out.gif'\n", done.stderr)
    done = command(tmp_path, "sys.exit(5)", "--timeline=no/such/folder/out.txt")
    assert done.returncode == 5
    assert done.stderr.startswith("asyncio_c: the timeline cannot be written: ")


@pytest.mark.parametrize(
    ("variables", "has_colours"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colours(variables, has_colours, tmp_path):
    done = command(tmp_path, "pass", "--timeline", **variables)
    assert ("\x1b[" in done.stderr) == has_colours


def test_columns_and_encoding(tmp_path):
    done = command(tmp_path, "pass", "--timeline", COLUMNS="61", PYTHONIOENCODING="ascii")
    assert done.stderr.isascii()
    assert (
        max(
            len(line) for line in done.stderr.splitlines() if "| " in line or line.startswith("Task-1 main |")
        )
        <= 61
    )


def test_a_terminal(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM.format(end="pass"))
    leader, follower = os.openpty()
    with open(leader, "rb", buffering=0) as terminal:
        subprocess.run(
            [sys.executable, "-m", "asyncio_c", "--timeline", "program.py"],
            cwd=tmp_path,
            env={**environment(), "TERM": "xterm"},
            stderr=follower,
            timeout=60,
        )
        os.close(follower)
        output = b""
        while True:
            try:
                chunk = terminal.read(65536)
            except OSError:  # Linux's end of a terminal
                break
            if not chunk:
                break
            output += chunk
    assert b"\x1b[" in output and re.search("[┃█]✓", re.sub(r"\x1b\[[0-9;]*m", "", output.decode()))


def test_a_forked_child_shows_nothing(tmp_path):
    done = command(tmp_path, "import os; os.fork() or sys.exit(0)", "--timeline")
    assert done.stderr.count("asyncio timeline") == 1


# ---- the lesson ----

LESSON = ROOT / "examples" / "timeline"

# Where time passes only while a loop waits, as it says.
ON_VIRTUAL_CLOCK = """\
import sys
from differential.virtual_clock import Clock
from asyncio_c.__main__ import main

Clock().start()
main(sys.argv[1:])
"""


@pytest.fixture
def lesson(clock_library):
    """Run one of its programs; return the bars of its tasks, each of 84 columns at most."""

    def run_lesson(name):
        done = subprocess.run(
            [sys.executable, "-c", ON_VIRTUAL_CLOCK, "--timeline", LESSON / f"{name}.py"],
            env={**virtual_clock.environment(clock_library), "COLUMNS": "106", "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return [re.sub("─+", "─", bar) for bar in bars(done.stderr)[:-1]]

    return run_lesson


def test_lesson_one_after_the_other(lesson):
    bar = "Task-1 breakfast ┃─ sleep(0.3) in brew_coffee ─┃─ sleep(0.2) in toast_bread ─┃✓"
    assert lesson("in_turn") == [bar]


def test_lesson_two_tasks(lesson):
    assert lesson("two_tasks") == [
        "Task-1 breakfast   ┃─ task Task-3 ─┃─ task Task-2 ─┃✓",
        "Task-2 brew_coffee ┃─ sleep(0.3) ─┃✓",
        "Task-3 toast_bread ┃─ sleep(0.2) ─┃✓",
    ]


def test_lesson_gather(lesson):
    assert lesson("gathered") == [
        "Task-1 breakfast   ┃─ gather of 2 ← Task-2 ─┃✓",
        "Task-2 brew_coffee ┃─ sleep(0.3) ─┃✓",
        "Task-3 toast_bread ┃─ sleep(0.2) ─┃✓",
    ]
