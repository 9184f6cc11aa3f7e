"""The other end of the monitor's socket: asking a process, and saying in one sentence why it does not answer."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from . import places, protocol

PATIENCE = 30.0  # seconds; many tasks take a while


class MonitorError(Exception):
    """Why there is no answer: one sentence for the user."""


def _user_of(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except (OSError, OverflowError):
        raise MonitorError(f"there is no process {pid}") from None


def _exchange(connection: socket.socket, question: dict[str, Any]) -> bytes:
    connection.sendall(protocol.encode(question))
    with connection.makefile("rb") as file:
        return file.readline()


def ask(pid: int, kind: str, **more: Any) -> dict[str, Any]:
    """Return the answer of a process to a question; raises MonitorError."""
    uid = _user_of(pid)
    if os.geteuid() not in (0, uid):
        raise MonitorError(f"process {pid} is another user's, and only that user and root may look at it")
    for folder in places.folders(uid, pid):
        try:
            connection = folder.connect(pid, PATIENCE)
            if connection is None:
                continue
            with connection:
                line = _exchange(connection, {"version": protocol.VERSION, "ask": kind, **more})
        except TimeoutError:
            raise MonitorError(f"process {pid} does not answer: it is stopped, or too busy") from None
        except OSError as error:
            raise MonitorError(f"process {pid} cannot be asked: {error.strerror or error}") from None
        return _read(pid, line)
    raise MonitorError(
        f"process {pid} has no monitor: start it with ASYNCIO_C_MONITOR=1, or have it call asyncio_c.monitor.serve()"
    )


def _read(pid: int, line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise MonitorError(f"process {pid} broke off: it is ending, or has too many who ask")
    if answer.get("version") != protocol.VERSION:
        raise MonitorError(
            f"process {pid} speaks version {answer.get('version')} of the monitor's protocol, and this asyncio_c version "
            f"{protocol.VERSION}: use the asyncio_c of that process"
        )
    if "error" in answer:
        raise MonitorError(f"process {pid} does not answer: {answer['error']}")
    return answer


def processes() -> list[dict[str, Any]]:
    """Return what the processes say of themselves that this user can look at."""
    found: dict[int, dict[str, Any]] = {}
    for folder in places.folders(os.geteuid()):
        for pid in folder.pids():
            try:
                found.setdefault(pid, ask(pid, "process"))
            except MonitorError:
                continue
        folder.remove_dead()
    return [found[pid] for pid in sorted(found)]
