"""Every log line of the pipeline, Korean and English."""

from __future__ import annotations

from typing import Final

from pipelines.shorts.vocabulary import Locale

__all__ = ["LINES", "say"]

LINES: Final[dict[str, dict[Locale, str]]] = {
    "plot_begins": {
        "ko": "플롯 생성 시작: 프롬프트 분석 중...",
        "en": "Plot started: reading the prompt...",
    },
    "csv": {
        "ko": "시나리오 생성 중 ({model})...",
        "en": "Writing the scenario ({model})...",
    },
    "csv_offline": {
        "ko": "OPENAI_API_KEY가 없어 오프라인 작가가 대신 씁니다",
        "en": "No OPENAI_API_KEY: the offline writer takes over",
    },
    "csv_repair": {
        "ko": "받은 CSV를 읽을 수 없어 다시 요청합니다: {why}",
        "en": "The CSV that came back cannot be read, asking again: {why}",
    },
    "csv_fallback": {
        "ko": "모델의 시나리오를 쓸 수 없어 오프라인 작가가 대신 씁니다: {why}",
        "en": "The model's scenario cannot be used, the offline writer takes over: {why}",
    },
    "csv_done": {"ko": "시나리오 CSV 생성 완료", "en": "Scenario CSV written"},
    "json": {"ko": "JSON 레이아웃 변환 중...", "en": "Turning it into a JSON layout..."},
    "json_done": {"ko": "JSON 레이아웃 생성 완료", "en": "JSON layout written"},
    "assets_begin": {
        "ko": "에셋 생성 시작 (디자이너, 작곡가, 성우)",
        "en": "Assets started (designer, composer, narrator)",
    },
    "images": {"ko": "디자이너: 이미지 생성 중...", "en": "Designer: painting the scenes..."},
    "image_done": {
        "ko": "디자이너: 장면 {index}/{count} 완성 「{caption}」",
        "en": "Designer: scene {index} of {count} painted: {caption}",
    },
    "image_fallback": {
        "ko": "디자이너: 이미지 API를 쓸 수 없어 직접 그립니다 (장면 {index}): {why}",
        "en": "Designer: the image API cannot be used, scene {index} is drawn here instead: {why}",
    },
    "music": {"ko": "작곡가: 배경음악 생성 중...", "en": "Composer: writing the music..."},
    "music_done": {
        "ko": "작곡가: {key}, {tempo_bpm} BPM, {duration_s:.0f}초 곡 완성",
        "en": "Composer: {duration_s:.0f} s of music in {key}, {tempo_bpm} BPM",
    },
    "voice": {"ko": "성우: 음성 합성 중...", "en": "Narrator: speaking the lines..."},
    "voice_done": {
        "ko": "성우: {count}개 문장 녹음 완료 ({engine})",
        "en": "Narrator: {count} lines recorded ({engine})",
    },
    "voice_fallback": {
        "ko": "성우: 음성 API를 쓸 수 없어 eSpeak NG로 합성합니다: {why}",
        "en": "Narrator: the speech API cannot be used, eSpeak NG speaks instead: {why}",
    },
    "voice_captions_only": {
        "ko": "성우: 음성을 합성할 수 없어 자막만 넣습니다: {why}",
        "en": "Narrator: no voice can be made, captions only: {why}",
    },
    "mix": {"ko": "음향: 음악과 음성 믹싱 중...", "en": "Sound: mixing music and voice..."},
    "mix_done": {
        "ko": "음향: 믹싱 완료 ({duration_s:.1f}초)",
        "en": "Sound: mixed ({duration_s:.1f} s)",
    },
    "render_begins": {"ko": "렌더링 단계 시작", "en": "Rendering started"},
    "render_done": {"ko": "렌더링 완료: {output_path}", "en": "Rendered: {output_path}"},
    "qa_begins": {"ko": "QA: 품질 검수 시작...", "en": "QA: checking the film..."},
    "qa_opened": {"ko": "QA: 영상 파일 확인 완료", "en": "QA: the film opens and is complete"},
    "qa_picture": {
        "ko": "QA: 화면 확인 완료 (평균 밝기 {brightness:.0%})",
        "en": "QA: the picture is fine (mean brightness {brightness:.0%})",
    },
    "qa_sound": {
        "ko": "QA: 음량 확인 완료 ({level_dbfs:.1f} dBFS)",
        "en": "QA: the sound is fine ({level_dbfs:.1f} dBFS)",
    },
    "done": {"ko": "영상 생성 완료! 🎉", "en": "The film is ready! 🎉"},
}


def say(locale: Locale, line: str, /, **values: object) -> str:
    """The line `line` in `locale`, with `values` filled in. KeyError if there is none."""
    return LINES[line][locale].format(**values)
