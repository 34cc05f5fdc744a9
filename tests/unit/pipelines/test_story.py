"""The words of a film: what a prompt says, what the offline writer makes of it, and the CSV in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.shorts.layout import lay_out
from pipelines.shorts.request import ShortsInput
from pipelines.shorts.story import lexicon, phrases
from pipelines.shorts.story.scenario import (
    COLUMNS,
    MAX_CAPTION_CHARS,
    Beat,
    Scenario,
    ScenarioError,
    parse_csv,
    write_csv,
)
from pipelines.shorts.story.storyteller import tell
from pipelines.shorts.vocabulary import (
    BACKDROPS,
    HEROES,
    LIGHTS,
    MOODS,
    WEATHERS,
    Backdrop,
    Light,
    Locale,
    Mood,
    Weather,
    possible_weather,
)

GOOD = Scenario(
    title="별, 그리고 고양이",
    mood="calm",
    beats=(
        Beat(2.5, "space", "cat", "night", "stars", "wide", '"안녕", 별', "안녕, 별"),
        Beat(2.0, "room", "cat", "dawn", "clear", "hero", "집", "집으로"),
    ),
)


@pytest.mark.parametrize(
    ("text", "hero", "backdrop"),
    [
        ("우주를 여행하는 고양이", "cat", "space"),
        ("비 오는 밤 카페에서 커피를 마시는 로봇", "robot", "room"),
        ("A paper boat crosses the sea", "boat", "sea"),
        ("깊은 바닷속 고래의 노래", "whale", "underwater"),
        ("새가 숲에서 운다", "bird", "forest"),
        ("새벽 도시", None, "city"),
        ("catalogue of education", None, None),
        ("두 마리의 Cats in a meadow", "cat", "meadow"),
    ],
)
def test_a_prompt_is_read_for_what_it_names(text: str, hero: str | None, backdrop: str | None) -> None:
    """A word inside another word must not conjure a bird out of a dawn, or a cat out of a catalogue."""
    assert lexicon.find_hero(text) == hero
    assert lexicon.find(lexicon.BACKDROP_WORDS, text) == backdrop


def test_every_word_list_has_what_can_be_painted() -> None:
    """A hero or place that no word leads to could never be seen without a model."""
    assert {*lexicon.CHARACTER_WORDS, *lexicon.THING_WORDS} == set(HEROES) - {"none"}
    assert set(lexicon.BACKDROP_WORDS) == set(BACKDROPS)
    assert set(lexicon.LIGHT_WORDS) == set(LIGHTS)
    assert set(lexicon.WEATHER_WORDS) == set(WEATHERS) - {"clear"}
    assert set(lexicon.MOOD_WORDS) == set(MOODS)
    for locale in ("ko", "en"):
        assert set(phrases.HERO_NAMES[locale]) == set(HEROES)
        assert set(phrases.PLACES[locale]) == set(BACKDROPS)


def test_korean_particles_follow_the_last_syllable() -> None:
    """고양이은 or 곰는 would be read aloud, and sound wrong."""
    assert lexicon.topic_particle("고양이") == "는"
    assert lexicon.topic_particle("곰") == "은"
    assert lexicon.subject_particle("로켓") == "이"
    assert lexicon.subject_particle("고래") == "가"


@given(
    prompt=st.text(min_size=1, max_size=2000).filter(lambda text: text.strip()), locale=st.sampled_from(["ko", "en"])
)
def test_any_prompt_becomes_a_scenario_that_can_be_read_back(prompt: str, locale: Locale) -> None:
    """Whatever people type, the offline writer's CSV must satisfy the reader that models are held to."""
    request = ShortsInput(prompt=prompt, locale=locale)
    scenario = tell(request.prompt, locale)
    assert parse_csv(write_csv(scenario)) == scenario
    assert tell(request.prompt, locale) == scenario


@pytest.mark.parametrize(
    ("prompt", "first"),
    [
        ("바다 위의 등대에 대한 30초 영상을 만들어줘", "바다 위의 등대"),
        ("Make a short video about a robot that plants a flower", "A robot that plants a flower"),
        ("please create a film where two dogs meet", "Two dogs meet"),
        ("영상 만들어줘", "영상 만들어줘"),
    ],
)
def test_the_request_around_the_subject_is_not_shown(prompt: str, first: str) -> None:
    """A caption that says `make a video about` would tell everybody that nobody read it."""
    assert tell(prompt, "ko").beats[0].caption == first


def test_a_persons_own_sentences_are_the_scenes() -> None:
    """Someone who wrote the story must get that story, each sentence with its own hero and place."""
    scenario = tell("A cat finds a map. It boards a rocket. It lands on the moon.", "en")
    assert [beat.caption for beat in scenario.beats[:3]] == [
        "A cat finds a map",
        "It boards a rocket",
        "It lands on the moon",
    ]
    assert [beat.hero for beat in scenario.beats[:3]] == ["cat", "rocket", "cat"]
    assert len(scenario.beats) == 4


def test_different_prompts_tell_different_stories() -> None:
    """One fixed film for everybody would be a stub."""
    told = {write_csv(tell(prompt, "ko")) for prompt in ("가을", "겨울 바다", "사막의 로봇", "생일 파티", "비밀의 숲")}
    assert len(told) == 5


def test_a_long_prompt_is_cut_at_a_word_in_the_caption() -> None:
    """A caption that fills the picture hides the film."""
    caption = tell("아주 " * 300 + "긴 이야기", "ko").beats[0].caption
    assert len(caption) <= MAX_CAPTION_CHARS
    assert caption.endswith("아주…")


@pytest.mark.parametrize("prompt", ["", "   \n ", "x" * 2001])
def test_an_empty_or_endless_prompt_is_refused(prompt: str) -> None:
    """The pipeline must not spend a minute on nothing."""
    with pytest.raises(ValidationError):
        ShortsInput(prompt=prompt)


def test_the_form_knows_its_fields() -> None:
    """The start form is generated from this schema: without titles it would show variable names."""
    schema = ShortsInput.model_json_schema()
    assert schema["required"] == ["prompt"]
    assert schema["properties"]["locale"]["enum"] == ["ko", "en"]
    assert schema["properties"]["locale"]["default"] == "ko"
    for field in schema["properties"].values():
        assert field["title"]
        assert field["description"]
    assert ShortsInput(prompt="  우주  ").prompt == "우주"


def test_a_scenario_survives_csv() -> None:
    """Commas and quotes in a caption must not shift the columns."""
    assert parse_csv(write_csv(GOOD)) == GOOD
    assert parse_csv(f"```csv\n{write_csv(GOOD)}```\n") == GOOD
    assert parse_csv("\ufeff" + write_csv(GOOD)) == GOOD


def _with(column: str, value: str, row: int = 0) -> str:
    lines = [
        COLUMNS,
        *(line.split("|") for line in ("1|2|sea|boat|day|clear|wide|a|b|T|calm", "2|2|sea|boat|day|clear|wide|a|b||")),
    ]
    rows = [list(line) for line in lines]
    rows[row + 1][COLUMNS.index(column)] = value
    return "\n".join(",".join(cells) for cells in rows)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the CSV is empty"),
        ("Sure! Here is your film.", "the header must be"),
        (",".join(COLUMNS), "there must be 2 to 6 scenes, got 0"),
        (_with("backdrop", "moonbase"), "row 1: backdrop must be one of space, sea"),
        (_with("hero", "unicorn", 1), "row 2: hero must be one of"),
        (_with("seconds", "99"), "row 1: seconds must be 1 to 4, got '99'"),
        (_with("seconds", "nan"), "row 1: seconds must be 1 to 4, got 'nan'"),
        (_with("seconds", "two"), "row 1: seconds must be 1 to 4, got 'two'"),
        (_with("caption", ""), "row 1: caption must be 1 to 60 printable characters, got ''"),
        (_with("scene", "7", 1), "row 2: scene must be 2, got '7'"),
        (_with("title", ""), "row 1: title must be"),
        (_with("mood", "hungry"), "row 1: mood must be one of calm"),
        (_with("caption", "a,b"), "row 1 must have 11 cells, got 12"),
    ],
)
def test_rubbish_is_refused_with_a_reason(text: str, says: str) -> None:
    """The reason goes back to the model, and into the log: `invalid CSV` would help neither."""
    with pytest.raises(ScenarioError) as caught:
        parse_csv(text)
    assert says in str(caught.value)


def test_many_problems_are_told_in_few_words() -> None:
    """A model that gets everything wrong must not fill the log."""
    rows = "\n".join(f"{number},9,x,x,x,x,x,,,," for number in range(1, 7))
    with pytest.raises(ScenarioError) as caught:
        parse_csv(f"{','.join(COLUMNS)}\n{rows}")
    assert "and " in str(caught.value)
    assert str(caught.value).count(";") == 6


def test_nobody_sees_stars_by_day() -> None:
    """A rocket at noon needs no starry sky, one in space does."""
    assert {beat.weather for beat in tell("A rocket leaves the desert at noon under the stars", "en").beats[:3]} == {
        "clear"
    }
    assert {beat.weather for beat in tell("낮에도 별이 빛나는 우주", "ko").beats} == {"stars"}


@pytest.mark.parametrize("locale", ["ko", "en"])
@pytest.mark.parametrize("mood", MOODS)
def test_a_phrase_that_speaks_of_light_or_weather_gets_it(mood: Mood, locale: Locale) -> None:
    """A caption that tells of rain over a dry picture is a promise that the film breaks."""
    told = {
        phrase.text: phrase
        for phrase in [*phrases.TURNS[locale][mood], *phrases.CLOSINGS[locale][mood]]
        if phrase.light is not None or phrase.weather is not None
    }
    word = lexicon.MOOD_WORDS[mood].split()[0 if locale == "ko" else -1]
    seen = set()
    for subject in [*lexicon.BACKDROP_WORDS.values(), *lexicon.LIGHT_WORDS.values(), *lexicon.WEATHER_WORDS.values()]:
        for own in [subject.split()[0 if locale == "ko" else -1], ""]:
            scenario = tell(f"{word} {own}", locale)
            for beat in scenario.beats[1:] if scenario.mood == mood else []:
                if (phrase := told.get(beat.caption)) is not None:
                    seen.add(beat.caption)
                    assert phrase.light in (None, beat.light), beat
                    assert phrase.weather in (None, beat.weather), beat
    assert seen or not told


def test_every_mood_has_a_phrase_that_fits_everywhere() -> None:
    """Where no light and no weather can be promised, something must be left to say."""
    for locale in ("ko", "en"):
        for told in (phrases.TURNS[locale], phrases.CLOSINGS[locale]):
            assert set(told) == set(MOODS)
            for entries in told.values():
                assert any(phrase.light is None and phrase.weather is None for phrase in entries)
                for phrase in entries:
                    assert phrase.light is None or phrase.light in LIGHTS
                    assert phrase.weather is None or phrase.weather in WEATHERS


@pytest.mark.parametrize(
    ("backdrop", "light", "weather", "shown"),
    [
        ("underwater", "day", "rain", "bubbles"),
        ("space", "day", "snow", "stars"),
        ("space", "night", "confetti", "confetti"),
        ("meadow", "day", "fireflies", "clear"),
        ("meadow", "night", "fireflies", "fireflies"),
        ("sea", "night", "bubbles", "clear"),
        ("city", "day", "rain", "rain"),
    ],
)
def test_weather_is_where_it_can_be(backdrop: Backdrop, light: Light, weather: Weather, shown: Weather) -> None:
    """Also in a model's scenario: snow in space, or stars at noon, are read and mended, not painted."""
    assert possible_weather(backdrop, light, weather) == shown
    beat = Beat(2.0, backdrop, "cat", light, weather, "wide", "a", "a")
    layout = lay_out(Scenario("t", "calm", (beat, beat)), "t", "en")
    assert [scene.weather for scene in layout.scenes] == [shown, shown]


def test_a_hero_is_where_it_belongs() -> None:
    """A boat that no prompt puts anywhere must not sail through a forest."""
    assert {beat.backdrop for beat in tell("작은 배", "ko").beats} == {"sea"}
    assert {beat.backdrop for beat in tell("a cup", "en").beats} == {"room"}
