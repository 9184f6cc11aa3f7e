"""What the network benchmarks make before they can run: the load generator, the server in C, a certificate."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ..child import SampleFailed

HERE = Path(__file__).resolve().parent
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra")
WITH_TLS = ("-DWITH_TLS", "-lssl", "-lcrypto")
CERTIFICATES = {"ecdsa": "ec -pkeyopt ec_paramgen_curve:P-256", "rsa": "rsa:2048"}
LIMIT = 120.0  # seconds for one command


def command_output(*command: str) -> str:
    """Return what `command` prints. Raises SampleFailed with its first line of an error if it fails."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LIMIT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SampleFailed(str(error)) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise SampleFailed(next((line for line in lines if "error" in line), lines[-1]))
    return done.stdout


def compile_c(source: str, directory: Path, *options: str) -> Path:
    """Compile `source` of this folder by $CC, or cc, to a program in `directory`. Raises SampleFailed."""
    program = directory / source.removesuffix(".c")
    command_output(os.environ.get("CC", "cc"), *FLAGS, "-o", str(program), str(HERE / source), *options)
    return program


class Programs:
    """The programs in `directory`.

    `no_tls` is why there is no TLS, or "": the programs in C need OpenSSL's headers and library, and the servers need
    certificates, which OpenSSL's command makes. Raises SampleFailed if there is no C compiler.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.no_tls = ""
        try:
            for kind in CERTIFICATES:
                make_certificate(directory, kind)
            self.loadgen = compile_c("loadgen.c", directory, *WITH_TLS)
            self.floor = compile_c("floor.c", directory, *WITH_TLS)
        except SampleFailed as failure:
            self.no_tls = f"no OpenSSL to build with: {failure}"
            self.loadgen = compile_c("loadgen.c", directory)
            self.floor = compile_c("floor.c", directory)


def certificate(directory: Path, kind: str) -> tuple[Path, Path]:
    """Return the files of the certificate and of its key."""
    return directory / f"{kind}-certificate.pem", directory / f"{kind}-key.pem"


def make_certificate(directory: Path, kind: str) -> None:
    command = f"openssl req -x509 -newkey {CERTIFICATES[kind]} -nodes -days 2 -subj /CN=localhost"
    chain, key = certificate(directory, kind)
    command_output(*command.split(), "-keyout", str(key), "-out", str(chain))
