"""The servers that the programs talk to: started once, in temporary folders, on Unix sockets and free ports."""

import contextlib
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

import pytest

from . import support


@pytest.fixture(scope="session")
def redis_server():
    """(path of the Unix socket, port) of a redis-server."""
    program = support.find_server("redis-server", "redis-server")
    with contextlib.ExitStack() as stack:
        # Not pytest's own folders, whose paths can be too long for a Unix socket.
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-")))

        def command(port):
            options = {"bind": "127.0.0.1", "port": port, "unixsocket": folder / "socket", "dir": folder}
            words = [word for name, value in options.items() for word in (f"--{name}", value)]
            return [program, *words, "--save", "", "--appendonly", "no"]

        port = support.start_on_free_port(
            stack, command, "eady to accept connections( unix|.* at .*socket)", timeout_s=support.SESSION_S
        )
        yield str(folder / "socket"), port


def server_account():
    """Return what runs a process as somebody else where this is root, which PostgreSQL refuses to run as."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@pytest.fixture(scope="session")
def postgres_server():
    """(folder of the Unix socket, port, certificate of the authority) of a PostgreSQL that trusts the user "tester"."""
    trustme = pytest.importorskip("trustme")
    initdb = support.find_server("initdb", "postgresql")
    postgres = support.find_server("postgres", "postgresql")
    account = server_account()
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="postgres-")))
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "authority.pem")
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        certificate.cert_chain_pems[0].write_to_path(folder / "server.crt")
        certificate.private_key_pem.write_to_path(folder / "server.key")
        (folder / "server.key").chmod(0o600)
        if account:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, account["user"], account["group"])

        made = subprocess.run(
            [
                initdb,
                "-D",
                folder / "data",
                "-U",
                "tester",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=support.TIMEOUT_S,
            **account,
        )
        assert made.returncode == 0, made.stderr

        def command(port):
            settings = {
                "listen_addresses": "127.0.0.1",
                "port": port,
                "unix_socket_directories": folder,
                "fsync": "off",
                "ssl": "on",
                "ssl_cert_file": folder / "server.crt",
                "ssl_key_file": folder / "server.key",
            }
            words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
            return [postgres, "-D", folder / "data", *words]

        port = support.start_on_free_port(
            stack,
            command,
            "database system is ready to accept connections",
            cwd=folder,
            timeout_s=support.SESSION_S,
            **account,
        )
        yield str(folder), port, str(folder / "authority.pem")
