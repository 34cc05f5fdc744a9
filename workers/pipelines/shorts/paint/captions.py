"""Text in the picture: wrapped, fitted, set in Pretendard (open, all Hangul syllables) with a soft shadow."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from pipelines.shorts.paint.palette import Colour

__all__ = ["Caption", "CaptionStyle", "draw_caption", "typeset", "wrap"]

CaptionStyle = Literal["title", "line"]

_FONT: Final = Path(__file__).parent / "fonts" / "Pretendard-Bold.otf"
_SIZES: Final[dict[CaptionStyle, tuple[float, float]]] = {"title": (0.098, 0.06), "line": (0.066, 0.042)}
"""Largest and smallest size of the letters as a share of the picture's width."""
_PLACES: Final[dict[CaptionStyle, float]] = {"title": 0.25, "line": 0.845}
"""The middle of the block, as a share of the picture's height."""
_MAX_LINES: Final = 3
_TEXT_WIDTH: Final = 0.84
_LEADING: Final = 1.3
_FADE_S: Final = 0.35
_RISE: Final = 0.018


class Caption:
    """A block of text, drawn once, with the place of its upper left corner in pixels."""

    def __init__(self, image: Image.Image, corner: tuple[int, int]) -> None:
        self.image = image
        self.corner = corner
        self._alpha = image.getchannel("A")

    def faded(self, opacity: float) -> Image.Image:
        """The block's mask at `opacity` (0..1)."""
        if opacity >= 1:
            return self._alpha
        return self._alpha.point([round(level * opacity) for level in range(256)])


@lru_cache(maxsize=64)
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_FONT), size_px)


def wrap(text: str, width_px: float, font: ImageFont.FreeTypeFont) -> list[str]:
    """Break `text` into lines at most `width_px` wide: at spaces, and within a word only if it is too long alone.

    Lines are balanced: of all ways with as few lines as possible, the one whose longest line is shortest.
    """
    words = [piece for word in text.split() for piece in _pieces(word, width_px, font)]
    greedy = _greedy(words, width_px, font)
    low, high = 0.0, width_px
    for _ in range(12):
        middle = (low + high) / 2
        narrow = _greedy(words, middle, font)
        fits = len(narrow) <= len(greedy) and all(font.getlength(line) <= middle for line in narrow)
        low, high = (low, middle) if fits else (middle, high)
    return _greedy(words, high, font)


def _greedy(words: list[str], width_px: float, font: ImageFont.FreeTypeFont) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and font.getlength(f"{lines[-1]} {word}") <= width_px:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(word)
    return lines


def _pieces(word: str, width_px: float, font: ImageFont.FreeTypeFont) -> list[str]:
    pieces: list[str] = []
    current = ""
    for char in word:
        if current and font.getlength(current + char) > width_px:
            pieces.append(current)
            current = ""
        current += char
    return [*pieces, current]


def typeset(text: str, style: CaptionStyle, width_px: int, height_px: int, accent: Colour) -> Caption:
    """Set `text` for a picture of the given size, as large as fits in three lines."""
    largest, smallest = _SIZES[style]
    size = largest
    while True:
        font = _font(max(8, round(size * width_px)))
        lines = wrap(text, width_px * _TEXT_WIDTH, font)
        if len(lines) <= _MAX_LINES or size <= smallest:
            break
        size -= 0.004
    line_px = round(font.size * _LEADING)
    pad = round(width_px * 0.09)
    height = line_px * len(lines) + 2 * pad
    top = round(height_px * _PLACES[style] - height / 2)

    letters = Image.new("L", (width_px, height))
    pen = ImageDraw.Draw(letters)
    for number, line in enumerate(lines):
        pen.text((width_px / 2, pad + line_px * (number + 0.5)), line, font=font, fill=255, anchor="mm")
    shadow = letters.filter(ImageFilter.GaussianBlur(width_px * 0.012)).point(
        [min(255, round(v * 1.5)) for v in range(256)]
    )
    edge = letters.filter(ImageFilter.GaussianBlur(max(1.0, width_px * 0.0025)))

    block = Image.new("RGBA", (width_px, height))
    ink = Image.new("RGBA", block.size, (8, 8, 24, 255))
    for mask, strength in ((_veil(block.size, style), 1.0), (shadow, 0.6), (edge, 0.6)):
        ink.putalpha(mask.point([round(v * strength) for v in range(256)]))
        block.alpha_composite(ink)
    white = Image.new("RGBA", block.size, (255, 255, 255, 255))
    white.putalpha(letters)
    block.alpha_composite(white)
    if style == "title":
        rule = ImageDraw.Draw(block)
        half, thick = round(width_px * 0.06), max(2, round(width_px * 0.008))
        y = min(height - thick - 1, pad + line_px * len(lines) + round(width_px * 0.022))
        rule.rounded_rectangle(
            (width_px // 2 - half, y, width_px // 2 + half, y + thick), radius=thick / 2, fill=(*accent, 255)
        )
    return Caption(block, (0, top))


def _veil(size: tuple[int, int], style: CaptionStyle) -> Image.Image:
    """A soft dark area behind the text, so that it can be read over any picture."""
    width, height = size
    rows = np.sin(np.linspace(0, np.pi, height)) ** 1.5
    columns = np.sin(np.linspace(0, np.pi, width)) ** 0.5
    strength = 70 if style == "title" else 95
    return Image.fromarray((rows[:, None] * columns[None, :] * strength).astype(np.uint8), "L")


def draw_caption(frame: Image.Image, caption: Caption, time_s: float, duration_s: float) -> None:
    """Draw `caption` on `frame`: it rises at the beginning of its scene and fades out at the end."""
    enter = min(1.0, max(0.0, (time_s - 0.12) / _FADE_S))
    leave = min(1.0, max(0.0, (duration_s - time_s) / _FADE_S))
    opacity = min(enter, leave)
    if opacity <= 0:
        return
    eased = 1 - (1 - enter) ** 3
    x, y = caption.corner
    lift = round((1 - eased) * _RISE * frame.width * 2)
    frame.paste(caption.image, (x, y + lift), caption.faded(opacity))
