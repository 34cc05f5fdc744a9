"""The author: from a prompt to a scenario (CSV) and a layout (JSON)."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Final

from pipelines.shorts import vocabulary
from pipelines.shorts.layout import Layout, lay_out, write_layout
from pipelines.shorts.openai_client import Message, ServiceFailed, ask
from pipelines.shorts.reporting import Report
from pipelines.shorts.request import ShortsInput
from pipelines.shorts.settings import ShortsSettings
from pipelines.shorts.story.scenario import (
    COLUMNS,
    MAX_SCENES,
    MAX_SECONDS,
    MIN_SCENES,
    MIN_SECONDS,
    Scenario,
    ScenarioError,
    parse_csv,
    write_csv,
)
from pipelines.shorts.story.storyteller import tell
from pipelines.shorts.vocabulary import Locale
from pipelines.shorts.wording import say
from pipelines.shorts.workfiles import SCENARIO, whole_file

__all__ = ["make_plot"]

_PROMPT: Final = Path(__file__).with_name("scenario_prompt.md")
_DISPLAY_NAMES: Final = {"gpt-4o-mini": "GPT-4o-mini"}
_LANGUAGES: Final[dict[Locale, str]] = {"ko": "Korean", "en": "English"}
_STATE: Final = "PLOT_GENERATION"


def make_plot(request: ShortsInput, folder: Path, report: Report, settings: ShortsSettings) -> Layout:
    """Write `scenario.csv` and `layout.json`, and return the layout.

    With a key a model writes the scenario. It may correct a CSV that cannot be read once. If that fails, or the service
    does, the offline writer writes the scenario, and the log says why.
    """
    locale = request.locale
    report(state=_STATE, progress=0.4, log=say(locale, "plot_begins"))
    model = _DISPLAY_NAMES.get(settings.model, settings.model)
    report(state=_STATE, progress=0.48, log=say(locale, "csv", model=model))
    scenario = _scenario(request, report, settings)
    with whole_file(folder / SCENARIO) as part:
        part.write_text(write_csv(scenario), encoding="utf-8-sig")  # with a BOM: without it Excel does not read Hangul
    report(state=_STATE, progress=0.6, log=say(locale, "csv_done"), data={"title": scenario.title})
    report(state=_STATE, progress=0.68, log=say(locale, "json"))
    layout = lay_out(scenario, request.prompt, locale, settings.film_format)
    write_layout(layout, folder)
    report(state=_STATE, progress=0.8, log=say(locale, "json_done"))
    report(state="ASSET_GENERATION", progress=1.0, log=say(locale, "assets_begin"))
    return layout


def _scenario(request: ShortsInput, report: Report, settings: ShortsSettings) -> Scenario:
    locale = request.locale
    if settings.openai_api_key is None:
        report(log=say(locale, "csv_offline"))
        return tell(request.prompt, locale)
    try:
        return _written_by_model(request, report, settings)
    except (ServiceFailed, ScenarioError) as error:
        report(level="warning", log=say(locale, "csv_fallback", why=error))
        return tell(request.prompt, locale)


def _written_by_model(request: ShortsInput, report: Report, settings: ShortsSettings) -> Scenario:
    conversation: list[Message] = [
        ("system", _instructions(request.locale)),
        ("user", request.prompt),
    ]
    answer = ask(settings, conversation)
    try:
        return parse_csv(answer)
    except ScenarioError as error:
        report(level="warning", log=say(request.locale, "csv_repair", why=error))
        conversation += [
            ("assistant", answer),
            ("user", f"That cannot be read: {error}. Answer again with the whole corrected CSV only."),
        ]
    return parse_csv(ask(settings, conversation))


def _instructions(locale: Locale) -> str:
    return Template(_PROMPT.read_text(encoding="utf-8")).substitute(
        columns=",".join(COLUMNS),
        min_scenes=MIN_SCENES,
        max_scenes=MAX_SCENES,
        min_seconds=f"{MIN_SECONDS:g}",
        max_seconds=f"{MAX_SECONDS:g}",
        backdrops=", ".join(vocabulary.BACKDROPS),
        heroes=", ".join(vocabulary.HEROES),
        lights=", ".join(vocabulary.LIGHTS),
        weathers=", ".join(vocabulary.WEATHERS),
        shots=", ".join(vocabulary.SHOTS),
        moods=", ".join(vocabulary.MOODS),
        language=_LANGUAGES[locale],
    )
