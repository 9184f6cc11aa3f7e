"""Campaigns of random programs, always the same ones; `make differential N=10000` runs others."""

import shutil
import subprocess

import pytest

pytest.importorskip("hypothesis", reason="the differential tests make their programs with hypothesis")

from . import virtual_clock  # noqa: E402


@pytest.fixture(scope="session")
def clock_library(tmp_path_factory):
    """The library of the virtual clock, for the processes that run programs."""
    if shutil.which(virtual_clock.compiler()[0]) is None:
        pytest.skip("the virtual clock needs a C compiler")
    return virtual_clock.build(tmp_path_factory.mktemp("clock"))


def run(clock_library, *arguments):
    """Run a campaign in a process with the virtual clock; return its exit status and what it printed."""
    process = subprocess.run(
        virtual_clock.command(*arguments),
        env=virtual_clock.environment(clock_library),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return process.returncode, process.stdout


def test_programs(clock_library):
    status, output = run(clock_library, "programs", "--count", "1000")
    assert status == 0, output
    assert "1000 programs, no difference" in output


def test_programs_on_the_other_poller(clock_library, monkeypatch):
    monkeypatch.setenv("ASYNCIO_C_POLLER", "poll")
    status, output = run(clock_library, "programs", "--count", "60", "--seed", "1")
    assert status == 0, output


def test_primitives(clock_library):
    status, output = run(clock_library, "primitives", "--count", "500")
    assert status == 0, output
    assert "500 primitives, no difference" in output


def test_scopes(clock_library):
    status, output = run(clock_library, "scopes", "--count", "600")
    assert status == 0, output


def test_streams(clock_library):
    status, output = run(clock_library, "streams", "--count", "150")
    assert status == 0, output
    assert "150 streams, no difference" in output


def test_streams_over_tls(clock_library):
    """On both engines, in pieces of several sizes, with handshakes that are given up."""
    status, output = run(clock_library, "tls", "--count", "100")
    assert status == 0, output
    assert "100 tls, no difference" in output


@pytest.mark.parametrize("plant", ["order", "context", "message", "cancel", "bytes_lost", "secrets_lost"])
def test_a_planted_difference_is_found(clock_library, plant):
    """Otherwise the campaigns above would prove nothing."""
    generator = {"bytes_lost": "streams", "secrets_lost": "tls"}.get(plant, "programs")
    status, output = run(clock_library, generator, "--count", "300", "--plant", plant)
    assert status == 1, output
    variant = "loop_only openssl" if generator == "tls" else "loop_only"
    assert f"{variant} differs from asyncio" in output
    assert "async def main():" in output
