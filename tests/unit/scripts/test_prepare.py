"""Set-up: done once, done again when its sources change, and with errors that say what is missing."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import prepare
import system_packages
from system_packages import Program

ROOT = Path(__file__).resolve().parents[3]

NODE_VERSIONS = [
    ("v18.20.4", False),
    ("v20.18.3", False),
    ("v20.19.0", True),
    ("v21.7.3", False),
    ("v22.11.0", False),
    ("v22.12.0", True),
    ("v24.1.0", True),
]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Write a shell program of a name into a folder that becomes the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(name: str, body: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.mark.parametrize(("version", "fits"), NODE_VERSIONS)
def test_only_versions_of_node_that_vite_supports_are_accepted(
    program: Callable[[str, str], Path], version: str, fits: bool
) -> None:
    program("node", f"echo {version}")
    program("npm", "exit 0")
    if fits:
        assert prepare.check_node() == version
    else:
        with pytest.raises(prepare.SetupError, match=f"found {version}"):
            prepare.check_node()


def test_the_error_without_npm_says_where_to_get_node(program: Callable[[str, str], Path]) -> None:
    program("node", "echo v22.12.0")
    with pytest.raises(prepare.SetupError, match=r"with npm, found none; see https://nodejs\.org"):
        prepare.check_node()


def find_python(**environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["/bin/sh", str(ROOT / "scripts" / "find-python")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_old_python_is_refused_and_a_newer_one_is_found(program: Callable[[str, str], Path], tmp_path: Path) -> None:
    path = str(tmp_path / "bin")
    program("python3", '[ "$1" = -V ] && echo "Python 3.9.2"; exit 1')
    refused = find_python(PATH=path)
    assert refused.returncode == 1
    assert "needs Python 3.11 or newer, found Python 3.9.2" in refused.stderr
    newer = program("python3.12", "exit 0")
    assert find_python(PATH=path).stdout.strip() == str(newer)


def test_a_python_without_venv_and_no_python_have_different_errors(
    program: Callable[[str, str], Path], tmp_path: Path
) -> None:
    path = str(tmp_path / "bin")
    assert "found none" in find_python(PATH=path).stderr
    program("python3", 'case "$2" in *venv*) exit 1;; esac')
    assert "apt-get install python3-venv" in find_python(PATH=path).stderr


def test_a_step_runs_once_until_its_sources_change(tmp_path: Path) -> None:
    stamp, runs = tmp_path / "stamp", []

    def run(made_from: str) -> int:
        prepare.step("a step", stamp, made_from, lambda: runs.append(made_from))
        return len(runs)

    assert [run("a"), run("a"), run("b"), run("b"), run("a")] == [1, 1, 2, 2, 3]


def test_a_step_that_fails_is_done_again(tmp_path: Path) -> None:
    stamp = tmp_path / "stamp"
    stamp.write_text("a")

    def fail() -> None:
        raise prepare.SetupError("half-way")

    with pytest.raises(prepare.SetupError):
        prepare.step("a step", stamp, "b", fail)
    assert not stamp.exists()


def test_the_digest_depends_on_names_contents_and_extra_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "ROOT", tmp_path)
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("content")
    two.write_text("content")
    seen = {
        prepare.digest([one]),
        prepare.digest([two]),
        prepare.digest([one, two]),
        prepare.digest([one], "v22"),
    }
    before = prepare.digest([one, two])
    assert before == prepare.digest([two, one])
    one.write_text("other")
    assert len(seen | {prepare.digest([one, two])}) == 5


def nowhere(name: str) -> Program:
    return Program((f"runrelay-test-{name}",), f"package-of-{name}", f"tests with {name}")


def test_missing_programs_of_a_plain_user_are_one_line_that_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    said: list[str] = []
    system_packages.ensure(said.append, (nowhere("a"), Program(("sh",), "dash", "tests in a shell"), nowhere("b")))
    (line,) = said
    assert line.startswith("skipped: tests with a, tests with b; ")
    assert "apt-get install package-of-a package-of-b" in line


def test_apt_is_not_called_if_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(packages: list[str]) -> bool:
        raise AssertionError(packages)

    monkeypatch.setattr(system_packages, "_apt_install", refuse)
    said: list[str] = []
    system_packages.ensure(said.append, (Program(("absent", "sh"), "dash", "tests in a shell"),))
    assert said == []


def test_root_installs_without_starting_services_and_removes_the_policy(
    program: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that Debian's package starts, because policy-rc.d did not answer 101; or a policy that stays."""
    policy = tmp_path / "policy-rc.d"
    log = tmp_path / "log"
    monkeypatch.setattr(system_packages, "POLICY", policy)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    program("apt-get", f'{policy}; echo "$1 $? $DEBIAN_FRONTEND" >> {log}')
    said: list[str] = []
    system_packages.ensure(said.append, (nowhere("a"),))
    assert log.read_text().splitlines() == ["update 101 noninteractive", "install 101 noninteractive"]
    assert not policy.exists()
    # apt said yes, and the program is still not there: that is said too.
    assert [line.split(":")[0] for line in said] == ["system packages", "skipped"]


def test_a_policy_of_the_machine_s_own_is_kept(
    program: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("theirs")
    monkeypatch.setattr(system_packages, "POLICY", policy)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    program("apt-get", "exit 1")
    system_packages.ensure(lambda _: None, (nowhere("a"),))
    assert policy.read_text() == "theirs"


@pytest.mark.parametrize("copied", [False, True])
def test_a_venv_that_was_copied_from_another_folder_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copied: bool
) -> None:
    """A copied .venv whose programs run the original's Python and sources."""
    monkeypatch.setattr(prepare, "ROOT", tmp_path)
    monkeypatch.setattr(prepare, "VENV", tmp_path / ".venv")
    python = tmp_path / ".venv" / "bin" / "python"
    declared = tmp_path / ".venv/lib/python3.11/site-packages/runrelay-0.1.0.dist-info/direct_url.json"
    for path in (python, declared):
        path.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 0\n")  # a Python that says yes: new enough, and has pip
    python.chmod(0o755)
    declared.write_text(f'{{"url": "{(tmp_path / ("other" if copied else ".")).as_uri()}"}}')
    made: list[Path] = []

    def create(folder: Path, *, clear: bool, **_: object) -> None:
        assert clear
        made.append(folder)

    monkeypatch.setattr("prepare.venv.create", create)
    prepare.make_venv()
    assert made == ([tmp_path / ".venv"] if copied else [])


def test_a_folder_that_cannot_be_written_is_a_one_line_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback for a checkout on a read-only disk."""

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied", "/checkout/.venv")

    monkeypatch.setattr(prepare, "prepare", refuse)
    monkeypatch.setattr("sys.argv", ["prepare"])
    assert prepare.main() == 1
    assert capsys.readouterr().err == "setup: cannot use /checkout/.venv: Permission denied\n"


def test_set_up_works_in_a_terminal_without_unicode() -> None:
    program = (
        "import sys, prepare; prepare.prepare = lambda **_: prepare.say('step …'); sys.argv[1:] = [];"
        "sys.exit(prepare.main())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT / "scripts",
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("setup: step ?\nsetup: ready")
