"""The suites of suites.toml: fetching, installing and running them."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tomllib
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# The environment of a run; see asyncio_c/autopatch.py and asyncio_c/tls.py.
MODES = {
    "stock": {},
    "loop": {"ASYNCIO_C": "loop"},
    "object": {"ASYNCIO_C": "loop", "ASYNCIO_C_TLS": "object"},
    "patch": {"ASYNCIO_C": "1"},
}
BAD = ("failed", "hung or crashed")
SECONDS_PER_TEST = 60


@dataclasses.dataclass
class Suite:
    name: str
    version: str
    requirements: list[str]
    arguments: list[str]
    mode: str = "installed"
    minutes: int = 5
    tls: bool = False
    unprivileged: bool = False
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    known: list[dict[str, str]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Result:
    """What one run left: the outcome and the report of each test, and how many loops of which class there were."""

    outcomes: dict[str, str]
    texts: dict[str, str]
    loops: dict[str, int]
    finished: bool

    def count(self, *outcomes: str) -> int:
        return sum(outcome in outcomes for outcome in self.outcomes.values())


def load_suites() -> list[Suite]:
    with open(HERE / "suites.toml", "rb") as file:
        return [Suite(**entry) for entry in tomllib.load(file)["suite"]]


def call(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True, timeout=600)


def build_wheel(folder: Path) -> Path:
    """Return the wheel of the tree at hand, built for the Python at hand."""
    call(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT)
    return max(folder.glob("asyncio_c-*.whl"), key=os.path.getmtime)


class Installed:
    """A suite in a folder of its own: its unmodified sources, and an environment with what it needs and our wheel."""

    def __init__(self, suite: Suite, folder: Path, wheel: Path) -> None:
        self.suite = suite
        self.folder = folder / f"{suite.name}-{suite.version}"
        self.bin = self.folder / "env" / "bin"
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "complete").exists():
            venv.create(self.folder / "env", with_pip=True, clear=True)
            requirements = ["pytest", "pytest-timeout", f"{suite.name}=={suite.version}", *suite.requirements]
            call(self.bin / "pip", "install", "-q", *requirements)
            self._fetch_sources()
            (self.folder / "complete").touch()
        call(self.bin / "pip", "install", "-q", "--force-reinstall", "--no-deps", wheel)
        (self.sources,) = (self.folder / "sources").iterdir()

    def _fetch_sources(self) -> None:
        pinned = f"{self.suite.name}=={self.suite.version}"
        options = ("--no-deps", "--no-binary", self.suite.name, "-d", self.folder)
        call(self.bin / "pip", "download", "-q", *options, pinned)
        (archive,) = self.folder.glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(self.folder / "sources", filter="data")

    def run(self, mode: str, tests: list[str] | None = None) -> Result:
        """Run all tests, or those of the given ids, and return what came of them."""
        record = self.folder / f"record-{mode}{'-again' if tests else ''}"
        record.unlink(missing_ok=True)
        environment = {n: value for n, value in os.environ.items() if not n.startswith("ASYNCIO_C")}
        environment |= {"UPSTREAM_RECORD": str(record), "PYTHONPATH": str(HERE / "plugin")}
        environment |= self.suite.environment | MODES[mode]
        # "python -m pytest" puts the current folder in front of the installed packages, "pytest" does not.
        pytest = (
            [self.bin / "python", "-m", "pytest"] if self.suite.mode == "sources" else [self.bin / "pytest"]
        )
        if self.suite.unprivileged and os.geteuid() == 0:
            # In a namespace in which we are somebody else, whose files are ours.
            pytest = ["unshare", "--user", "--map-user=daemon", "--map-group=daemon", *pytest]
        command = [*pytest, "-q", "-p", "upstream_recorder", "--rootdir=.", f"--timeout={SECONDS_PER_TEST}"]
        with open(record.with_suffix(".log"), "wb") as log:
            process = subprocess.Popen(
                [*map(str, command), *self._arguments(tests)],
                cwd=self.sources,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(self.suite.minutes * 60)
            except subprocess.TimeoutExpired:
                print(
                    f"{self.suite.name}, {mode}: killed after {self.suite.minutes} minutes", file=sys.stderr
                )
            finally:
                # What the suite itself has left running goes, too.
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                process.wait()
        return read_record(record)

    def _arguments(self, tests: list[str] | None) -> list[str]:
        if tests is None:
            return self.suite.arguments
        # The options stay; what names files gives way to the tests.
        return [word for word in self.suite.arguments if not (self.sources / word).exists()] + tests


def read_record(path: Path) -> Result:
    """Read what the plugin wrote; a test that began and did not end hung, or crashed the interpreter."""
    result = Result({}, {}, {}, finished=False)
    lines = path.read_text().splitlines() if path.exists() else []
    for entry in map(json.loads, lines):
        if "loops" in entry:
            result.loops, result.finished = entry["loops"], True
            continue
        # Addresses in the names of parametrised tests differ from run to run.
        test = re.sub(r"0x[0-9a-f]+", "0x", entry["test"])
        if entry["outcome"] == "started":
            result.outcomes[test] = "hung or crashed"
        elif result.outcomes.get(test) != "failed":
            # A failure while a fixture is torn down comes after "passed", and must not be outdone either.
            result.outcomes[test] = entry["outcome"]
            result.texts[test] = entry.get("text", "")
    return result
