"""The author: the rows that people see, and a model that fails in every way that models do."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.shorts import wording
from pipelines.shorts.layout import read_layout
from pipelines.shorts.plot import make_plot
from pipelines.shorts.request import ShortsInput
from pipelines.shorts.settings import ShortsSettings
from pipelines.shorts.story.scenario import COLUMNS, parse_csv
from tests.support.pipelines import OFFLINE, Recorder, Reply, fake_openai, original_place

CSV = (
    ",".join(COLUMNS)
    + "\n1,2.4,sea,whale,sunset,clear,wide,고래가 노래한다,고래가 노래한다,고래의 노래,calm"
    + '\n2,2,underwater,whale,night,bubbles,hero,"깊고, 푸른",깊고 푸른,,\n'
)
KO = ShortsInput(prompt="고래", locale="ko")


def test_the_rows_are_those_of_the_original_system(tmp_path: Path) -> None:
    """The table of the original is what people know: state, progress and line, in this order."""
    report = Recorder()
    make_plot(ShortsInput(prompt="우주를 여행하는 고양이"), tmp_path, report, OFFLINE)
    rows = [
        (said.state, original_place("plan", said.progress), said.log)
        for said in report.said
        if said.progress is not None
    ]
    assert rows == [
        ("PLOT_GENERATION", 0.10, "플롯 생성 시작: 프롬프트 분석 중..."),
        ("PLOT_GENERATION", 0.12, "시나리오 생성 중 (GPT-4o-mini)..."),
        ("PLOT_GENERATION", 0.15, "시나리오 CSV 생성 완료"),
        ("PLOT_GENERATION", 0.17, "JSON 레이아웃 변환 중..."),
        ("PLOT_GENERATION", 0.20, "JSON 레이아웃 생성 완료"),
        ("ASSET_GENERATION", 0.25, "에셋 생성 시작 (디자이너, 작곡가, 성우)"),
    ]


def test_without_a_key_the_log_says_who_writes(tmp_path: Path) -> None:
    """A film written offline must not pass for the model's."""
    report = Recorder()
    layout = make_plot(KO, tmp_path, report, OFFLINE)
    assert wording.say("ko", "csv_offline") in report.logs
    assert read_layout(tmp_path) == layout
    raw = (tmp_path / "scenario.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert parse_csv(raw.decode()).title == layout.title


def test_the_english_log_has_no_korean(tmp_path: Path) -> None:
    """Every line has its twin."""
    report = Recorder()
    make_plot(ShortsInput(prompt="a cat", locale="en"), tmp_path, report, OFFLINE)
    assert report.logs
    assert all(line.isascii() for line in report.logs)


@pytest.mark.parametrize("key", sorted(wording.LINES))
def test_every_line_has_both_languages_with_the_same_values(key: str) -> None:
    """A value missing in one language would fail only there."""
    lines = wording.LINES[key]
    assert set(lines) == {"ko", "en"}
    fields = [sorted(part.split("}")[0].split(":")[0] for part in line.split("{")[1:]) for line in lines.values()]
    assert fields[0] == fields[1]


def test_the_model_writes_the_scenario(tmp_path: Path) -> None:
    """With a key the film is the model's, asked for by the SDK at the address that was set."""
    report = Recorder()
    with fake_openai(chat=[Reply(CSV)]) as server:
        layout = make_plot(KO, tmp_path, report, server.settings())
    assert layout.title == "고래의 노래"
    assert [scene.caption for scene in layout.scenes] == ["고래가 노래한다", "깊고, 푸른"]
    (request,) = server.asked("/chat/completions")
    assert request["model"] == "gpt-4o-mini"
    assert request["messages"][-1] == {"role": "user", "content": "고래"}
    assert "Korean" in request["messages"][0]["content"]
    assert ",".join(COLUMNS) in request["messages"][0]["content"]
    assert not report.warnings


def test_another_model_is_named_in_the_log(tmp_path: Path) -> None:
    """A log that says GPT-4o-mini while another model writes would be wrong."""
    report = Recorder()
    settings = ShortsSettings(model="qwen3-8b")
    make_plot(KO, tmp_path, report, settings)
    assert "시나리오 생성 중 (qwen3-8b)..." in report.logs


def test_a_model_may_mend_its_csv_once(tmp_path: Path) -> None:
    """Models make small mistakes: told what is wrong, they mend them."""
    report = Recorder()
    with fake_openai(chat=[Reply(CSV.replace("whale,sunset", "kraken,sunset")), Reply(f"```csv\n{CSV}```")]) as server:
        layout = make_plot(KO, tmp_path, report, server.settings())
    assert layout.title == "고래의 노래"
    (line,) = report.warnings
    assert "row 1: hero must be one of" in line
    assert "hero must be one of" in server.asked("/chat/completions")[1]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("replies", "calls", "says"),
    [
        ([Reply("Sorry, I cannot do that."), Reply("No.")], 2, "the header must be"),
        ([Reply(status=500)], 1, "500"),
        ([Reply(status=401)], 1, "401"),
        ([Reply("")], 1, "empty answer"),
        ([], 1, "404"),
    ],
)
def test_a_model_that_fails_does_not_fail_the_film(tmp_path: Path, replies: list[Reply], calls: int, says: str) -> None:
    """The offline writer takes over, and the log says why."""
    report = Recorder()
    with fake_openai(chat=replies) as server:
        layout = make_plot(KO, tmp_path, report, server.settings())
    assert len(server.requests) == calls
    assert says in report.warnings[-1]
    assert "오프라인 작가" in report.warnings[-1]
    assert layout.scenes


def test_a_service_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    """One bad gateway is no reason to give up."""
    report = Recorder()
    with fake_openai(chat=[Reply(status=502), Reply(CSV)]) as server:
        layout = make_plot(KO, tmp_path, report, server.settings(max_retries=1))
    assert layout.title == "고래의 노래"
    assert len(server.requests) == 2
    assert not report.warnings


def test_a_service_that_is_not_there_does_not_fail_the_film(tmp_path: Path) -> None:
    """A wrong OPENAI_BASE_URL is a line in the log."""
    with fake_openai() as server:
        settings = server.settings()
    report = Recorder()
    layout = make_plot(KO, tmp_path, report, settings)
    assert layout.scenes
    assert "Connection error" in report.warnings[-1]


def test_settings_come_from_the_environment() -> None:
    """An empty variable, as compose files leave them, is an absent one."""
    given = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://localhost:1/v1", "RUNRELAY_SHORTS_MODEL": "m"}
    settings = ShortsSettings.from_env(given)
    assert (settings.openai_api_key, settings.openai_base_url, settings.model) == ("k", "http://localhost:1/v1", "m")
    assert ShortsSettings.from_env({"OPENAI_API_KEY": "", "RUNRELAY_SHORTS_MODEL": ""}) == ShortsSettings()
    assert "secret" not in repr(ShortsSettings(openai_api_key="secret"))


def test_the_size_of_the_film_can_be_set() -> None:
    """A wrong size is told where it was set, and not by an encoder minutes later."""
    assert ShortsSettings.from_env({"RUNRELAY_SHORTS_FORMAT": "144x256@8"}).film_format == OFFLINE.film_format
    for wrong in ("144x256", "145x256@8", "wide", "99999x10@1"):
        with pytest.raises(ValueError, match=r"RUNRELAY_SHORTS_FORMAT|multiple of 2|less than or equal"):
            ShortsSettings.from_env({"RUNRELAY_SHORTS_FORMAT": wrong})
