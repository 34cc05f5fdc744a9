"""The command line at a terminal: wrong input, no Redis, terminals without Unicode, Redis that restarts."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import pytest
import redis
from websockets.sync.client import connect

from runrelay.progress.fields import GIVEN
from tests.support.command_line import invoke
from tests.support.servers import Server, free_port

DEADLINE_S = 30.0
COMMAND = [sys.executable, "-m", "runrelay.cli"]


def environment(url: str, prefix: str, **more: str) -> dict[str, str]:
    return {**os.environ, "REDIS_URL": url, "RUNRELAY_PREFIX": prefix, **more}


@pytest.fixture
def nowhere() -> str:
    """A URL without a server."""
    return f"redis://127.0.0.1:{free_port()}/0"


def run(env: dict[str, str], *arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=DEADLINE_S,
        check=False,
    )


def the_line(answer: "subprocess.CompletedProcess[str]", code: int = 1) -> str:
    """The one line that a failed command has printed."""
    assert answer.returncode == code, answer.stdout + answer.stderr
    (line,) = answer.stderr.splitlines()
    return line


class Output:
    """A running command and its output so far, standard error included."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.seen: list[str] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="output", daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def until(self, text: str) -> str:
        """Wait for a line with this text."""
        deadline_s = time.monotonic() + DEADLINE_S
        while (left_s := deadline_s - time.monotonic()) > 0:
            try:
                self.seen.append(self._lines.get(timeout=left_s))
            except queue.Empty:
                break
            if text in self.seen[-1]:
                return self.seen[-1]
        raise AssertionError(f"no {text!r} within {DEADLINE_S:g} s, but: {''.join(self.seen)}")


@contextmanager
def started(env: dict[str, str], *arguments: str, cwd: Path | None = None) -> Iterator[Output]:
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env=env,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    ) as process:
        try:
            yield Output(process)
        finally:
            process.terminate()
            process.wait(DEADLINE_S)


@pytest.mark.parametrize(
    "command",
    [
        ("runs",),
        ("publish", "r", "--log", "x"),
        ("tail", "r"),
        ("tail", "--raw", "r"),
        ("demo", "r"),
        ("serve",),
        ("dev",),
        ("worker",),
    ],
)
def test_a_wrong_url_is_a_one_line_error_without_its_password(command: tuple[str, ...], tmp_path: Path) -> None:
    """A traceback of a library, which does not name the wrong variable."""
    line = the_line(run(environment("redis://me:secret@localhost:abc/0", "p"), *command, cwd=tmp_path))
    assert line.startswith("runrelay: REDIS_URL: ")
    assert "abc" in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (("runs",), "the run log is not available"),
        (("publish", "r", "--log", "x"), "cannot connect to the run log"),
        (("tail", "r"), "no answer from redis://127.0.0.1"),
        (("tail", "--raw", "r"), "no answer from redis://127.0.0.1"),
        (("demo", "r", "--seconds", "0.1"), "the run log is not available"),
    ],
)
def test_each_command_without_a_redis_prints_one_line(command: tuple[str, ...], shown: str, nowhere: str) -> None:
    """A traceback, or a demo that seems to have succeeded although nothing was committed."""
    assert shown in the_line(run(environment(nowhere, "p"), *command))


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("RUNRELAY_MAX_CONNECTIONS", "0", "greater than or equal to 1, got '0'"),
        ("RUNRELAY_CHECK_S", "often", "got 'often'"),
        ("PORT", "abc", "got 'abc'"),
        ("RUNRELAY_ALLOWED_ORIGINS", "https://example.org", "must be a JSON list"),
    ],
)
def test_a_wrong_setting_is_a_one_line_error_with_its_variable(name: str, value: str, shown: str, nowhere: str) -> None:
    line = the_line(run(environment(nowhere, "p", **{name: value}), "runs"))
    assert line.startswith(f"runrelay: {name}")
    assert shown in line


def test_a_wrong_setting_of_the_worker_is_a_one_line_error(nowhere: str) -> None:
    line = the_line(run(environment(nowhere, "p", RUNRELAY_FLUSH_MS="often"), "worker"))
    assert line == "runrelay: RUNRELAY_FLUSH_MS must be a number, got 'often'"


def test_an_empty_variable_counts_as_absent(redis_url: str, prefix: str) -> None:
    """An error for an empty variable, as `${PORT:-}` in a compose file makes one."""
    answer = run(environment(redis_url, prefix, PORT="", RUNRELAY_LOG_LINES="", RUNRELAY_SPOOL=""), "runs")
    assert answer.returncode == 0, answer.stderr


def test_an_unknown_log_level_is_a_one_line_error(nowhere: str) -> None:
    assert "debug, info, warning, error, got 'loud'" in the_line(
        run(environment(nowhere, "p"), "serve", "--log-level", "loud")
    )


def test_dev_has_different_errors_for_a_foreign_address_and_a_taken_port(nowhere: str, tmp_path: Path) -> None:
    env = environment(nowhere, "p", RUNRELAY_HOST="192.0.2.1", PORT=str(free_port()))
    answer = run(env, "dev", "--no-worker", cwd=tmp_path)
    assert answer.returncode == 1
    assert "cannot listen on '192.0.2.1': it is not an address of this machine" in answer.stdout


def test_dev_names_the_folder_that_it_cannot_use(nowhere: str, tmp_path: Path) -> None:
    (tmp_path / ".runrelay").write_text("a file where the folder should be")
    line = the_line(
        run(environment(nowhere, "p", PORT=str(free_port())), "dev", "--no-worker", cwd=tmp_path),
    )
    assert line == "runrelay: cannot use .runrelay: File exists"


def test_dev_names_the_url_to_export_if_another_server_has_6379(tmp_path: Path) -> None:
    """Without the hint, `runrelay tail` shows an unknown run of the other server on 6379."""
    env = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    # held by this test unless another program has it: checking whether it is free would not keep it
    with ExitStack() as held:
        with suppress(OSError):
            held.enter_context(socket.create_server(("127.0.0.1", 6379)))
        dev = held.enter_context(
            started({**env, "PORT": str(free_port()), "RUNRELAY_CHANNEL": "ours"}, "dev", "--no-worker", cwd=tmp_path)
        )
        url = dev.until("valkey     redis://").split()[1]
        (warning,) = [line for line in dev.seen if "6379 is taken" in line]
        assert warning.startswith("WARNING: ")
        assert "SUBSCRIBE ours" in dev.seen[-1]
        assert f"export REDIS_URL={url}" in dev.until("for runrelay tail")
        dev.until("startup complete")


@pytest.mark.parametrize(
    "encoding",
    [{"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["latin-1", "ascii"],
)
def test_a_terminal_without_unicode_shows_escapes(encoding: dict[str, str], redis_url: str, prefix: str) -> None:
    """A traceback for a Korean log line on a console without Unicode."""
    env = environment(redis_url, prefix, **encoding)
    assert run(env, "publish", "우주", "--state", "END", "--log", "완료! done").returncode == 0
    told = run(env, "tail", "우주")
    assert (told.returncode, told.stderr) == (0, "")
    assert "! done" in told.stdout
    for command in (["runs"], ["--help"]):
        assert run(env, *command).returncode == 0
    with redis.Redis.from_url(redis_url) as client:
        assert client.exists(f"{prefix}:run:{{우주}}".encode())  # the id was passed on unchanged


def test_a_log_line_cannot_control_the_terminal_and_is_shown_as_it_was_written(redis_url: str, prefix: str) -> None:
    env = environment(redis_url, prefix)
    run(env, "publish", "r", "--state", "END", "--log", "\x1b]0;owned\x07 :smile: [bold]")
    assert "\\x1b]0;owned\\x07 :smile: [bold]" in run(env, "tail", "r").stdout


def test_a_demo_of_a_run_that_has_ended_is_refused(redis_url: str, prefix: str) -> None:
    env = environment(redis_url, prefix)
    run(env, "publish", "r", "--state", "END")
    assert "run 'r' is succeeded" in the_line(run(env, "demo", "r", "--seconds", "0.1"))


def test_a_long_run_id_is_not_wrapped_in_a_pipe(redis_url: str, prefix: str) -> None:
    """Wrapped lines, which `runrelay runs | grep` cannot find."""
    env = environment(redis_url, prefix)
    run_id = "long" * 50
    run(env, "publish", run_id, "--state", "X" * 64)
    assert [line.split()[2] for line in run(env, "runs").stdout.splitlines() if run_id in line] == ["X" * 64]


def test_a_closed_pipe_is_not_an_error(redis_url: str, prefix: str) -> None:
    env = environment(redis_url, prefix)
    with subprocess.Popen(
        [*COMMAND, "tail", "r"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert "unknown" in tail.stdout.readline()
        tail.stdout.close()
        run(env, "publish", "r", "--state", "END", "--log", "nobody reads this")
        assert tail.stderr.read() == ""
        assert tail.wait(DEADLINE_S) in (0, 1)


@pytest.mark.parametrize("options", [(), ("--raw",)], ids=["tail", "raw"])
def test_tail_goes_on_when_redis_is_back(
    options: tuple[str, ...], start_valkey: Callable[..., Server], prefix: str
) -> None:
    server = start_valkey()
    env = environment(server.url, prefix)
    with redis.Redis.from_url(server.url) as client, started(env, "tail", *options, "r") as tail:
        deadline_s = time.monotonic() + DEADLINE_S
        while client.pubsub_numsub(f"{prefix}:progress")[0][1] == 0:
            assert time.monotonic() < deadline_s, "tail does not listen"
        run(env, "publish", "r", "--log", "before")
        tail.until("before")
        server.stop()
        tail.until("redis is down")
        server.start()
        tail.until("redis is up")
        run(env, "publish", "r", "--state", "END", "--log", "after")
        tail.until("after")


def test_every_process_of_a_relay_logs_its_start_and_no_token(redis_url: str, prefix: str) -> None:
    """Of several processes the relay's own lines are missing in the log; or a token is in it."""
    port = free_port()
    with started(environment(redis_url, prefix, PORT=str(port)), "serve", "--workers", "2") as relay:
        for _ in range(2):
            assert relay.until("listening on").startswith("INFO: ")
        with connect(f"ws://127.0.0.1:{port}/ws/r?token=secret") as client:
            client.recv()
        line = relay.until("WebSocket of 127.0.0.1")  # one line for each connection, at its end
        assert "secret" not in line


@pytest.mark.parametrize(
    ("missing", "shown"),
    [("celery", "a worker needs the extra 'celery'"), ("pipelines", "name yours in RUNRELAY_CELERY_APP")],
)
@pytest.mark.parametrize("command", ["worker", "dev"])
def test_missing_parts_of_a_worker_are_an_error_before_anything_starts(
    missing: str, shown: str, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nowhere: str
) -> None:
    """`runrelay dev` from the wheel, which starts everything else and ends with Celery's traceback."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", nowhere)
    monkeypatch.setattr("runrelay.cli.commands.find_spec", lambda name: None if name == missing else name)
    answer = invoke(command)
    assert answer.exit_code == 1
    assert shown in answer.output
    assert ("--no-worker" in answer.output) is (command == "dev")
    assert not list(tmp_path.iterdir())


def test_dev_ends_when_its_valkey_ends(tmp_path: Path) -> None:
    """A relay and a worker that wait for ever for a Valkey that was killed."""
    env = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    with started({**env, "PORT": str(free_port())}, "dev", "--no-worker", cwd=tmp_path) as dev:
        dev.until("startup complete")
        pid = int((tmp_path / ".runrelay" / "valkey" / "server").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        dev.until("the valkey has ended")
        assert dev.process.wait(DEADLINE_S) == 1


def test_publish_checks_a_title_as_a_worker_does(redis_url: str, prefix: str) -> None:
    """A long title, or one with control characters, that the command lets pass."""
    env = environment(redis_url, prefix)
    assert "title must have 1 to 200 characters, got 201" in the_line(run(env, "publish", "r", "--title", "x" * 201))
    assert "control character" in the_line(run(env, "publish", "r", "--title", "two\nlines"))


def test_reloading_watches_source_folders_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart for a change in node_modules or in the data of runs."""
    given: list[object] = []
    monkeypatch.setattr("uvicorn.run", lambda *_, **options: given.append(options["reload_dirs"]))
    monkeypatch.chdir(tmp_path)
    assert invoke("serve", "--reload").exit_code == 0
    (tmp_path / "backend").mkdir()
    assert invoke("serve", "--reload").exit_code == 0
    assert invoke("serve").exit_code == 0
    assert given == [["."], ["backend"], None]


def test_publish_has_an_option_for_each_field_that_a_publisher_may_give(redis_url: str, prefix: str) -> None:
    """A field that only Python can publish; and JSON that is refused in one line."""
    env = environment(redis_url, prefix)
    given: dict[str, object] = {
        "state": "FAILED",
        "progress": 0.5,
        "log": "l",
        "level": "error",
        "step": "s",
        "attempt": 1,
    }
    given |= {"data": '{"a": [1, {"b": null}]}', "result": "[1]", "error": "e"}
    assert set(given) == set(GIVEN)
    options = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    assert run(env, "publish", "r", *options).returncode == 0
    assert run(env, "publish", "r", "--data", '{"a": null, "c": 2}').returncode == 0
    with redis.Redis.from_url(redis_url) as client:
        assert client.hget(f"{prefix}:run:{{r}}", "data") == b'{"c":2}'
    assert "data must be JSON" in run(env, "publish", "r", "--data", "{").stderr
    assert "data must be a JSON object, got list" in run(env, "publish", "r", "--data", "[]").stderr
    assert "would have more than 4 KiB" in run(env, "publish", "r", "--data", f'{{"x": "{"x" * 4085}"}}').stderr


def test_the_version_is_told() -> None:
    """The first thing that a report of a fault needs."""
    answer = invoke("--version")
    assert (answer.exit_code, answer.output) == (0, f"runrelay {version('runrelay')}\n")
