"""Where the sockets of the monitor are: in a folder that only the user can enter, one for each process.

The folder is asyncio_c in XDG_RUNTIME_DIR, if that is the user's own, else asyncio_c-UID in the folder for temporary files, where
anybody could have made one of that name before: a folder that is a link, another's, or open to others is refused. It is opened
first and looked at then, and sockets are reached through the descriptor (/proc/self/fd), so that nobody can put another in its
place in between, and so that their addresses, which have room for 108 bytes, are short.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import struct
import tempfile
from collections.abc import Iterator

_SOCKET_NAME = re.compile(r"asyncio_c-([1-9][0-9]*)\.sock")


class Folder:
    """An open folder of sockets. A context manager.

    Raises OSError, and PermissionError if it is not to be trusted with what belongs to the user `uid`.
    """

    def __init__(self, path: str, uid: int) -> None:
        self.path = path
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except NotADirectoryError:
            raise PermissionError(
                f"{path} is a link or no folder: the monitor's sockets cannot be there"
            ) from None
        status = os.fstat(self.fd)
        if status.st_uid != uid or status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            self.close()
            whose = "of another user" if status.st_uid != uid else "open to other users"
            raise PermissionError(f"{path} is {whose}: the monitor's sockets cannot be there")

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def address(self, name: str) -> str:
        """Return the address of a socket of that name, good while the folder is open."""
        return f"/proc/self/fd/{self.fd}/{name}"

    def pids(self) -> list[int]:
        """Return which processes have a socket here, living or dead."""
        return sorted(
            int(match[1]) for name in os.listdir(self.fd) if (match := _SOCKET_NAME.fullmatch(name))
        )

    def remove(self, name: str) -> None:
        """Remove a socket, if it is there."""
        try:
            os.unlink(name, dir_fd=self.fd)
        except FileNotFoundError:
            pass

    def listen(self, pid: int) -> socket.socket:
        """Return a socket that listens for who wants to look at a process, which nobody else can connect to.

        It gets its name when all that is done; so who finds one to which nobody listens knows that the process has ended.
        Raises FileExistsError if the name is taken: by another interpreter of the process.
        """
        name, new_name = socket_name(pid), f"new-{socket_name(pid)}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.remove(new_name)
            listener.bind(self.address(new_name))
            os.chmod(self.address(new_name), 0o600)
            listener.listen(16)
            os.link(new_name, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        except FileExistsError:
            listener.close()
            raise FileExistsError(
                f"another interpreter of process {pid} serves: a process has one monitor"
            ) from None
        except BaseException:
            listener.close()
            raise
        finally:
            self.remove(new_name)
        return listener

    def connect(self, pid: int, timeout: float) -> socket.socket | None:
        """Return a socket connected to the monitor of a process; None if there is none, after removing what a dead one left.

        timeout: in seconds, for each operation on the socket. Raises OSError, and TimeoutError if the queue there is full.
        """
        name = socket_name(pid)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Python's own timeout would not wait: where the queue is full, connecting fails at once unless the socket blocks.
            seconds = struct.pack("ll", int(timeout), int(timeout % 1 * 1_000_000))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
            connection.connect(self.address(name))
            connection.settimeout(timeout)
        except BlockingIOError:
            connection.close()
            raise TimeoutError(f"process {pid} is busy") from None
        except FileNotFoundError:  # what is there by now is another one's
            connection.close()
            return None
        except ConnectionRefusedError:
            connection.close()
            self.remove(name)
            return None
        except BaseException:
            connection.close()
            raise
        return connection

    def remove_dead(self) -> None:
        """Remove the sockets to which nobody listens."""
        for pid in self.pids():
            try:
                connection = self.connect(pid, 0.001)
            except OSError:  # it is busy
                continue
            if connection is not None:
                connection.close()


def socket_name(pid: int) -> str:
    return f"asyncio_c-{pid}.sock"


def _in_runtime_folder(path: str) -> str:
    return os.path.join(path, "asyncio_c")


def _in_temporary_folder(path: str, uid: int) -> str:
    return os.path.join(path, f"asyncio_c-{uid}")


def open_own_folder() -> Folder:
    """Open the folder in which this process puts its socket, and make it where it is missing. Raises OSError."""
    uid = os.geteuid()
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    try:
        usable = os.path.isabs(runtime) and os.stat(runtime).st_uid == uid and os.access(runtime, os.W_OK)
    except OSError:
        usable = False
    path = _in_runtime_folder(runtime) if usable else _in_temporary_folder(tempfile.gettempdir(), uid)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    return Folder(path, uid)


def _environment(pid: int) -> dict[str, str]:
    """Return the variables with which a process was started, as far as they may be seen."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            entries = os.fsdecode(file.read()).split("\0")
    except OSError:
        return {}
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}


def folders(uid: int, pid: int | None = None) -> Iterator[Folder]:
    """Open, one after the other, the folders in which a process of a user may have its socket; what is refused is left out.

    It may have been started with other variables than this one, as services are.
    """
    paths = []
    for variables in (os.environ, {} if pid is None else _environment(pid)):
        if os.path.isabs(variables.get("XDG_RUNTIME_DIR", "")):
            paths.append(_in_runtime_folder(variables["XDG_RUNTIME_DIR"]))
        for name in ("TMPDIR", "TEMP", "TMP"):
            if os.path.isabs(variables.get(name, "")):
                paths.append(_in_temporary_folder(variables[name], uid))
    paths += [_in_runtime_folder(f"/run/user/{uid}"), _in_temporary_folder(tempfile.gettempdir(), uid)]
    for path in dict.fromkeys(paths):
        try:
            folder = Folder(path, uid)
        except OSError:
            continue
        with folder:
            yield folder
