"""Which words of a prompt, Korean or English, stand for what can be painted and played."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeVar

from pipelines.shorts.vocabulary import Backdrop, Hero, Light, Mood, Weather

__all__ = [
    "BACKDROP_WORDS",
    "CHARACTER_WORDS",
    "LIGHT_WORDS",
    "MOOD_WORDS",
    "THING_WORDS",
    "WEATHER_WORDS",
    "find",
    "find_hero",
    "has_hangul",
    "subject_particle",
    "topic_particle",
]

_Kind = TypeVar("_Kind", bound=str)
_PARTICLES: Final = (
    "이|가|은|는|을|를|의|에|에서|에게|로|으로|와|과|도|만|들|들이|들은|들의|야|아|"
    "처럼|같은|이다|입니다|속|속의|위|위의|밑|아래"
)

CHARACTER_WORDS: Final[Mapping[Hero, str]] = {
    "cat": "고양이 냥이 야옹이 kitten kitty cat",
    "dog": "강아지 멍멍이 개 puppy dog",
    "rabbit": "토끼 rabbit bunny hare",
    "bear": "곰 곰돌이 판다 bear panda",
    "robot": "로봇 안드로이드 인공지능 robot android ai",
    "bird": "새 작은새 갈매기 비둘기 참새 제비 부엉이 펭귄 bird seagull gull sparrow swallow owl",
    "whale": "고래 물고기 돌고래 상어 whale fish dolphin shark",
    "person": (
        "사람 소년 소녀 아이 여행자 여행가 할머니 할아버지 엄마 아빠 친구 학생 청년 남자 여자 왕자 공주 우주인 "
        "우주비행사 개발자 가족 연인 "
        "person boy girl child kid traveller traveler woman man friend student grandmother grandfather prince "
        "princess astronaut developer hiker runner family"
    ),
}
THING_WORDS: Final[Mapping[Hero, str]] = {
    "rocket": "로켓 우주선 탐사선 rocket spaceship spacecraft starship",
    "balloon": "열기구 풍선 비행선 balloon airship",
    "boat": "배 돛단배 종이배 보트 요트 어부 선장 boat ship sailboat yacht sailor captain",
    "train": "기차 열차 지하철 전철 train subway locomotive",
    "car": "자동차 차 버스 택시 캠핑카 car bus taxi van",
    "cup": "커피 카페 찻잔 라떼 코코아 차한잔 coffee tea cafe latte cocoa cup",
    "flower": "꽃 장미 해바라기 튤립 씨앗 새싹 flower rose sunflower tulip seed",
}
BACKDROP_WORDS: Final[Mapping[Backdrop, str]] = {
    "space": (
        "우주 은하 은하수 행성 달나라 화성 목성 토성 별나라 달 space galaxy planet mars jupiter saturn moon cosmos "
        "astronaut universe orbit"
    ),
    "underwater": "바닷속 바다속 심해 해저 수중 산호 인어 underwater undersea reef coral mermaid deep-sea",
    "sea": (
        "바다 해변 파도 섬 항구 바닷가 등대 호수 강 sea ocean beach wave island harbour harbor lighthouse lake river"
    ),
    "city": (
        "도시 서울 부산 거리 빌딩 골목 마을 야경 회사 사무실 학교 지하철 city town street seoul tokyo york paris "
        "london office school skyline building downtown"
    ),
    "forest": "숲 나무 정글 숲속 캠핑 오두막 forest wood woods tree jungle camping cabin",
    "mountain": "산 산맥 봉우리 등산 설산 한라산 백두산 히말라야 mountain peak hill summit alps climb hiking",
    "desert": "사막 모래 오아시스 피라미드 낙타 desert sand dune oasis pyramid camel",
    "meadow": "들판 초원 정원 꽃밭 농장 언덕 시골 봄 field meadow garden farm countryside grass prairie spring",
    "room": "방 창가 집 카페 부엌 주방 서재 책상 도서관 room window home kitchen cafe library desk house bakery",
}
LIGHT_WORDS: Final[Mapping[Light, str]] = {
    "dawn": "새벽 아침 해돋이 일출 dawn morning sunrise daybreak",
    "sunset": "노을 석양 해질녘 저녁 황혼 sunset dusk evening twilight",
    "night": "밤 야경 한밤 별밤 달빛 자정 night midnight moonlight nighttime",
    "day": "낮 한낮 햇살 오후 여름 day noon afternoon sunny summer daylight",
}
WEATHER_WORDS: Final[Mapping[Weather, str]] = {
    "snow": "눈 눈보라 눈꽃 겨울 설산 크리스마스 함박눈 snow winter christmas snowy blizzard",
    "rain": "비 빗속 장마 소나기 우산 rain rainy storm umbrella",
    "petals": "꽃잎 벚꽃 봄 꽃밭 cherry blossom petals spring",
    "fireflies": "반딧불 반딧불이 요정 마법 firefly fireflies fairy magic magical",
    "bubbles": "바닷속 심해 물방울 거품 underwater bubbles reef",
    "confetti": "축제 파티 생일 축하 불꽃놀이 졸업 festival party birthday celebration fireworks graduation",
    "stars": "별 은하수 별빛 별똥별 유성 star stars galaxy meteor",
}
MOOD_WORDS: Final[Mapping[Mood, str]] = {
    "festive": "축제 파티 생일 축하 춤 크리스마스 festival party birthday celebration dance christmas",
    "tense": "추격 위기 폭풍 탈출 전쟁 괴물 위험 대결 chase storm escape war monster danger race battle deadline",
    "mysterious": "비밀 신비 수수께끼 유령 마법 전설 꿈 심해 secret mystery mysterious ghost magic legend dream",
    "wistful": (
        "그리움 추억 이별 외로운 외로움 눈물 마지막 비 memory memories lonely goodbye farewell tears last lost rain"
    ),
    "adventurous": (
        "모험 여행 탐험 우주 도전 항해 등반 로켓 오르는 떠나는 찾아 "
        "adventure travel journey explore voyage quest rocket climb space"
    ),
    "joyful": "행복 웃음 즐거운 신나는 사랑 소풍 놀이 happy joy fun love picnic play smile laugh",
    "calm": "조용한 평화 고요 휴식 커피 명상 산책 바람 calm quiet peace rest coffee tea walk breeze slow",
}


def has_hangul(text: str) -> bool:
    """Whether `text` has a Hangul syllable."""
    return any("가" <= char <= "힣" for char in text)


def find(words: Mapping[_Kind, str], text: str) -> _Kind | None:
    """The kind whose word comes first in `text`; of two that begin at one place the longer word wins."""
    lowered = text.lower()
    best: tuple[int, int] | None = None
    found: _Kind | None = None
    for kind, listed in words.items():
        for word in listed.split():
            match = _pattern(word).search(lowered)
            if match is None:
                continue
            rank = (match.start(), -len(word))
            if best is None or rank < best:
                best, found = rank, kind
    return found


def find_hero(text: str) -> Hero | None:
    """Who or what the film is about: somebody if the text has somebody, else a thing."""
    return find(CHARACTER_WORDS, text) or find(THING_WORDS, text)


def topic_particle(word: str) -> str:
    """은 or 는, by the last syllable of `word`."""
    return "은" if _ends_in_consonant(word) else "는"


def subject_particle(word: str) -> str:
    """이 or 가, by the last syllable of `word`."""
    return "이" if _ends_in_consonant(word) else "가"


def _ends_in_consonant(word: str) -> bool:
    # A Hangul syllable is 0xAC00 + (initial × 21 + vowel) × 28 + final; final 0 is an open syllable.
    last = word[-1:]
    return "가" <= last <= "힣" and (ord(last) - 0xAC00) % 28 != 0


@lru_cache(maxsize=1024)
def _pattern(word: str) -> re.Pattern[str]:
    if not has_hangul(word):
        return re.compile(rf"(?<![a-z]){re.escape(word)}(?:s|es|ies|y)?(?![a-z])")
    if len(word) > 1:
        return re.compile(re.escape(word))
    # A syllable alone is in many words (새 in 새벽): it counts only as a word, with or without a particle.
    return re.compile(rf"(?<!\w){word}(?:{_PARTICLES})?(?!\w)")
