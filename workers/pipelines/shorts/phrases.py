"""The sentences that the offline writer tells a story with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pipelines.shorts.vocabulary import Backdrop, Hero, Locale, Mood

__all__ = ["BEGINNINGS", "CLOSINGS", "HERO_NAMES", "PLACES", "SETTINGS_OUT", "TURNS"]

HERO_NAMES: Final[Mapping[Locale, Mapping[Hero, str]]] = {
    "ko": {
        "none": "이야기",
        "cat": "고양이",
        "dog": "강아지",
        "rabbit": "토끼",
        "bear": "곰",
        "person": "여행자",
        "robot": "로봇",
        "bird": "새",
        "whale": "고래",
        "rocket": "로켓",
        "balloon": "열기구",
        "boat": "작은 배",
        "train": "기차",
        "car": "자동차",
        "cup": "따뜻한 한 잔",
        "flower": "꽃 한 송이",
    },
    "en": {
        "none": "the story",
        "cat": "the cat",
        "dog": "the puppy",
        "rabbit": "the rabbit",
        "bear": "the bear",
        "person": "the traveller",
        "robot": "the robot",
        "bird": "the bird",
        "whale": "the whale",
        "rocket": "the rocket",
        "balloon": "the balloon",
        "boat": "the little boat",
        "train": "the train",
        "car": "the little car",
        "cup": "a warm cup",
        "flower": "a single flower",
    },
}

PLACES: Final[Mapping[Locale, Mapping[Backdrop, str]]] = {
    "ko": {
        "space": "별들 사이",
        "sea": "푸른 바다",
        "underwater": "깊은 바닷속",
        "city": "불 켜진 도시",
        "forest": "고요한 숲",
        "mountain": "높은 산",
        "desert": "끝없는 사막",
        "meadow": "바람 부는 들판",
        "room": "작은 창가",
    },
    "en": {
        "space": "among the stars",
        "sea": "on the wide blue sea",
        "underwater": "deep under the sea",
        "city": "in the city of lights",
        "forest": "in the quiet forest",
        "mountain": "high in the mountains",
        "desert": "in the endless desert",
        "meadow": "in the windy meadow",
        "room": "by the little window",
    },
}

# {hero}, {Hero}: its name; {topic}, {subject}: its name with 은/는, 이/가; {place}: where.
SETTINGS_OUT: Final[Mapping[Locale, tuple[str, ...]]] = {
    "ko": (
        "{place}에서 {subject} 길을 나섭니다",
        "{topic} {place}에서 노래합니다",
        "{place}, {subject} 나타났습니다",
        "{place}에서 {topic} 잠시 멈춥니다",
    ),
    "en": (
        "{Place}, {hero} sets out",
        "{Place}, {hero} takes a breath",
        "It begins {place}, with {hero}",
        "{Place}, {hero} is on its way",
    ),
}

# For a prompt that names nobody: the place may be shown, but nobody is invented in words.
BEGINNINGS: Final[Mapping[Locale, tuple[str, ...]]] = {
    "ko": ("시작은 언제나 작습니다", "오늘, 하나만 바꿔 봅니다", "잠깐이면 충분합니다", "천천히 들여다보면"),
    "en": (
        "It starts with something small",
        "Just one thing, today",
        "A moment is enough",
        "Look a little closer",
    ),
}

TURNS: Final[Mapping[Locale, Mapping[Mood, tuple[str, ...]]]] = {
    "ko": {
        "calm": ("서두르지 않아도 괜찮아요", "숨을 한 번, 천천히", "바람이 조용히 지나갑니다"),
        "joyful": ("웃음이 하늘까지 번집니다", "오늘은 참 좋은 날", "발걸음이 노래가 됩니다"),
        "adventurous": ("두려워도, 한 걸음 더", "아무도 가 보지 않은 곳으로", "길은 걷는 만큼 생겨납니다"),
        "mysterious": (
            "낯선 빛이 이름을 부릅니다",
            "아무도 모르는 문이 열립니다",
            "그림자가 먼저 대답합니다",
        ),
        "wistful": (
            "그리운 이름을 불러 봅니다",
            "두고 온 것들이 반짝입니다",
            "기억은 빗소리를 닮았습니다",
        ),
        "tense": ("시간이 얼마 남지 않았습니다", "폭풍이 바로 뒤에 있습니다", "이제 멈출 수 없습니다"),
        "festive": ("오늘 밤은 모두가 주인공", "하늘 가득 축하가 쏟아집니다", "함께라서 더 빛나는 순간"),
    },
    "en": {
        "calm": ("There is no need to hurry", "One slow breath, then another", "The wind goes by, quietly"),
        "joyful": (
            "Laughter climbs into the sky",
            "What a good day to be here",
            "Every step becomes a song",
        ),
        "adventurous": (
            "Afraid, and one step further",
            "To where nobody has been",
            "The road appears as you walk it",
        ),
        "mysterious": (
            "A strange light calls a name",
            "A door that nobody knew opens",
            "The shadow answers first",
        ),
        "wistful": (
            "A name, whispered once more",
            "What was left behind still shines",
            "Memory sounds like rain",
        ),
        "tense": ("There is not much time left", "The storm is right behind", "No way back from here"),
        "festive": (
            "Tonight everyone is the star",
            "The whole sky is cheering",
            "Brighter, because together",
        ),
    },
}

CLOSINGS: Final[Mapping[Locale, Mapping[Mood, tuple[str, ...]]]] = {
    "ko": {
        "calm": ("그렇게 하루가 저물어 갑니다", "오늘도 충분히 좋았습니다"),
        "joyful": ("내일도 오늘만 같기를", "행복은 늘 가까이에 있습니다"),
        "adventurous": ("여행은 이제부터 시작입니다", "그리고 새로운 이야기가 열립니다"),
        "mysterious": ("답은 어둠 너머에 있습니다", "비밀은 아직 끝나지 않았습니다"),
        "wistful": ("안녕, 다시 만날 때까지", "사라지지 않는 것도 있습니다"),
        "tense": ("마침내, 빛이 보입니다", "끝까지 포기하지 않았습니다"),
        "festive": ("우리의 밤은 이제 시작입니다", "이 순간을 오래 기억할게요"),
    },
    "en": {
        "calm": ("And so the day grows soft", "Today was good enough"),
        "joyful": ("May tomorrow be just like today", "Joy was never far away"),
        "adventurous": ("The journey has only begun", "And a new story opens"),
        "mysterious": ("The answer lies past the dark", "The secret is not over yet"),
        "wistful": ("Goodbye, until we meet again", "Some things never fade"),
        "tense": ("At last, there is light", "They never gave up"),
        "festive": ("Our night is only beginning", "We will remember this"),
    },
}
