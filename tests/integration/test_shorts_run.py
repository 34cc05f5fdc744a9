"""The shorts pipeline in a real prefork worker: from the prompt to the film, and what happens when it goes wrong."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from pipelines.shorts import STEPS, pipeline
from pipelines.shorts.request import ShortsInput
from tests.support.pipeline_worker import Live, film_writers, live_worker
from tests.support.pipelines import ORIGINAL_WEIGHTS
from tests.support.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RUN_ID = "20251105_1430_우주여행고양이"
FILES = [
    *("film.mp4", "poster.jpg", "scenario.csv", "layout.json"),
    *("scene-1.png", "scene-2.png", "scene-3.png", "scene-4.png"),
    *("music.wav", "voice.wav", "soundtrack.wav"),
]
# REQUIREMENTS S1: state, progress in the original's weights, log line.
ROWS_IN_ORDER = [
    ("PLOT_GENERATION", 0.10, "플롯 생성 시작: 프롬프트 분석 중..."),
    ("PLOT_GENERATION", 0.12, "시나리오 생성 중 (GPT-4o-mini)..."),
    ("PLOT_GENERATION", 0.15, "시나리오 CSV 생성 완료"),
    ("PLOT_GENERATION", 0.17, "JSON 레이아웃 변환 중..."),
    ("PLOT_GENERATION", 0.20, "JSON 레이아웃 생성 완료"),
    ("ASSET_GENERATION", 0.25, "에셋 생성 시작 (디자이너, 작곡가, 성우)"),
    ("RENDERING", 0.75, "렌더링 단계 시작"),
    ("RENDERING", 0.80, "렌더링 완료: {output_path}"),
    ("QA", 0.85, "QA: 품질 검수 시작..."),
    ("QA", 0.87, "QA: 영상 파일 확인 완료"),
    ("END", 1.00, "영상 생성 완료! 🎉"),
]
ROWS_AT_ONCE = ["디자이너: 이미지 생성 중...", "작곡가: 배경음악 생성 중...", "성우: 음성 합성 중..."]


def original_places(events: list[dict[str, Any]]) -> list[tuple[dict[str, Any], float]]:
    """Each event with the run's progress at it, 0..1, as the original system's weights make it of the steps'."""
    done = dict.fromkeys(ORIGINAL_WEIGHTS, 0.0)
    places: list[tuple[dict[str, Any], float]] = []
    for event in events:
        if event.get("step") in done and event.get("step_progress") is not None:
            done[event["step"]] = event["step_progress"]
        place = sum(ORIGINAL_WEIGHTS[step] * share for step, share in done.items()) / 100
        places.append((event, 1.0 if event["state"] == "END" else round(place, 4)))
    return places


@pytest.fixture
def worker(start_valkey: Callable[..., Server], prefix: str, tmp_path: Path) -> Any:
    """A worker on a Valkey of its own: the broker's queue has one name for all."""
    with live_worker(start_valkey().url, prefix, tmp_path) as live:
        yield live


def test_a_prompt_becomes_a_film(worker: Live) -> None:
    """Every row of the original's table, in order and in its place; progress that only goes up; and a film that plays.

    The run's own progress follows the time that the steps take, so that the rows stand elsewhere in it.
    """
    worker.start(RUN_ID, {"prompt": "우주를 여행하는 고양이", "locale": "ko"})
    events = list(worker.events(RUN_ID))
    last = events[-1]
    assert last["status"] == "succeeded", worker.said()
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))

    progress = [event["progress"] for event in events if event["progress"] is not None]
    assert progress == sorted(progress)
    said = [(event["state"], place, event["log"]) for event, place in original_places(events) if event["log"]]
    path = f"{worker.folder(RUN_ID).name}/film.mp4"
    rows = [(state, at, log.format(output_path=path)) for state, at, log in ROWS_IN_ORDER]
    assert [row for row in said if row in rows] == rows
    for line in ROWS_AT_ONCE:
        ((state, at, _),) = [row for row in said if row[2] == line]
        assert state == "ASSET_GENERATION"
        assert 0.25 <= at <= 0.65
    rendering = {event["progress"] for event in events if event["state"] == "RENDERING"}
    assert len(rendering) > 20, "rendering must be seen to move"
    assert min(rendering) < 0.3, "most of the time is still to come when rendering begins"
    assert max(rendering) > 0.9, "nearly all of it is over when rendering ends"

    result = last["result"]
    assert (result["video"], result["poster"]) == ("film.mp4", "poster.jpg")
    assert [file["name"] for file in result["files"]] == FILES
    for file in result["files"]:
        assert (worker.folder(RUN_ID) / file["name"]).stat().st_size == file["size_bytes"] > 0
    with av.open(str(worker.folder(RUN_ID) / "film.mp4")) as film:
        assert float(film.duration or 0) / 1e6 == pytest.approx(result["duration_s"], abs=0.1)
    assert not list(worker.folder(RUN_ID).rglob("*.part*"))


def test_two_runs_at_once_do_not_mix(worker: Live) -> None:
    """Each has its own folder, film and log, and the log's language is the one that was asked for."""
    requests = {
        "one": {"prompt": "바다의 작은 배", "locale": "ko"},
        "two": {"prompt": "A robot plants a flower", "locale": "en"},
    }
    for run_id, request in requests.items():
        worker.start(run_id, request)
    logs = {run_id: [event["log"] for event in worker.events(run_id) if event["log"]] for run_id in requests}
    assert logs["one"][-1] == "영상 생성 완료! 🎉"
    assert logs["two"][-1] == "The film is ready! 🎉"
    assert len(logs["two"]) > 15
    assert [line for line in logs["two"][:-1] if not line.isascii()] == []
    for run_id, request in requests.items():
        assert json.loads((worker.folder(run_id) / "layout.json").read_text())["title"] == request["prompt"]
    assert (worker.folder("one") / "film.mp4").read_bytes() != (worker.folder("two") / "film.mp4").read_bytes()


@pytest.mark.parametrize(
    ("step", "target", "never"),
    [
        ("music", "pipelines.shorts.music.make_music", ["mix", "render", "qa"]),
        ("render", "pipelines.shorts.render.make_film", ["qa"]),
    ],
)
def test_a_failing_step_fails_the_run(
    start_valkey: Callable[..., Server], prefix: str, tmp_path: Path, step: str, target: str, never: list[str]
) -> None:
    """Within the chord and after it: the run ends FAILED, its error names the step and the reason."""
    module, name = target.rsplit(".", 1)
    code = (
        f"import {module} as module\n"
        "def fail(*_args, **_kwargs):\n"
        f"    raise RuntimeError('the {step} went wrong: 7 of 9')\n"
        f"module.{name} = fail\n"
    )
    (tmp_path / "fault.py").write_text(code)
    with live_worker(start_valkey().url, prefix, tmp_path, include="fault", path=tmp_path) as live:
        live.start("faulty", {"prompt": "고래", "locale": "ko"})
        events = list(live.events("faulty"))
    last = events[-1]
    assert (last["status"], last["state"]) == ("failed", "FAILED"), live.said()
    assert last["error"].splitlines()[0] == f"{step}: RuntimeError: the {step} went wrong: 7 of 9"
    assert {event["step"] for event in events if event.get("step")}.isdisjoint(never)
    assert not (live.folder("faulty") / "film.mp4").exists()


def test_a_wrong_setting_fails_the_first_step_readably(
    start_valkey: Callable[..., Server], prefix: str, tmp_path: Path
) -> None:
    """Whoever set it must find out from the run's error."""
    with live_worker(start_valkey().url, prefix, tmp_path, RUNRELAY_SHORTS_FORMAT="big") as live:
        live.start("wrong", {"prompt": "고래", "locale": "ko"})
        last = list(live.events("wrong"))[-1]
    assert last["status"] == "failed"
    assert last["error"].startswith("plan: ValueError: RUNRELAY_SHORTS_FORMAT must be like 576x1024@24, got 'big'")


LARGE = "432x768@24"
"""A film of this size takes seconds to render: time enough to act in the middle of it."""


def rendering(event: dict[str, Any]) -> bool:
    return bool(event["state"] == "RENDERING" and event["step_progress"] > 0.1)


def test_a_killed_renderer_is_replaced(start_valkey: Callable[..., Server], prefix: str, tmp_path: Path) -> None:
    """A worker process that dies in the middle of a step (out of memory, say) must not lose the film."""
    with live_worker(start_valkey().url, prefix, tmp_path, RUNRELAY_SHORTS_FORMAT=LARGE) as live:
        live.start("revived", {"prompt": "고래", "locale": "ko"})
        live.until("revived", rendering)
        (victim,) = film_writers(live.folder("revived"))
        os.kill(victim, signal.SIGKILL)
        events = list(live.events("revived"))
    assert events[-1]["status"] == "succeeded", live.said()
    attempts = [event["step_attempt"] for event in events if event.get("step") == "render"]
    assert attempts[0] == 1
    assert attempts[-1] == 2
    assert {event["attempt"] for event in events} == {1}
    assert (live.folder("revived") / "film.mp4").exists()


def test_the_pipeline_registers_itself() -> None:
    """The relay learns its name, form, steps and titles from the object alone, without Celery."""
    assert pipeline.name == "shorts"
    assert pipeline.input_model is ShortsInput
    assert sum(pipeline.steps.values()) == 100
    assert list(pipeline.steps) == list(STEPS) == ["plan", "images", "music", "voice", "mix", "render", "qa"]
    assert pipeline.title_of is not None
    assert pipeline.title_of(ShortsInput(prompt="우주를\n여행하는 고양이")) == "우주를 여행하는 고양이"
    assert re.fullmatch(r"(가 )+가?…", pipeline.title_of(ShortsInput(prompt="가 " * 300)))
