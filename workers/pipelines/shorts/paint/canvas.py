"""A picture to paint shapes on: unit coordinates in, smooth edges out.

x runs from 0 to 1 across the visible width and y downwards in the same unit, so that a circle is round; an
overscan on all sides can be painted too, for the camera to move over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pipelines.shorts.paint.palette import Colour

__all__ = ["Bar", "Canvas", "Cut", "Fill", "Gradient", "Oval", "Point", "Poly", "Shape", "Stroke", "smooth"]

Point = tuple[float, float]
_SUPERSAMPLING: Final = 3
"""Shapes are drawn this much larger and averaged down: Pillow's own edges are jagged."""


@dataclass(frozen=True)
class Poly:
    """A filled polygon."""

    points: Sequence[Point]


@dataclass(frozen=True)
class Oval:
    """A filled ellipse; `ry` None makes it a circle."""

    x: float
    y: float
    rx: float
    ry: float | None = None


@dataclass(frozen=True)
class Bar:
    """A filled rectangle with corners of radius `r`."""

    x0: float
    y0: float
    x1: float
    y1: float
    r: float = 0.0


@dataclass(frozen=True)
class Stroke:
    """A line through points with round joints and ends."""

    points: Sequence[Point]
    width: float


@dataclass(frozen=True)
class Cut:
    """A hole in what was drawn before it in the same stroke of paint."""

    shape: Poly | Oval | Bar | Stroke


Shape = Poly | Oval | Bar | Stroke | Cut


@dataclass(frozen=True)
class Gradient:
    """A vertical run from `top` at `y0` to `bottom` at `y1`."""

    top: Colour
    bottom: Colour
    y0: float
    y1: float


Fill = Colour | Gradient


class Canvas:
    """An RGBA image of `width_px` × `height_px` visible pixels with `overscan` (0..1 of the width) around."""

    def __init__(self, width_px: int, height_px: int, overscan: float = 0.0) -> None:
        self.unit_px = width_px
        self.margin = overscan
        self._margin_px = round(width_px * overscan)
        self.aspect = height_px / width_px
        self.image = Image.new("RGBA", (width_px + 2 * self._margin_px, height_px + 2 * self._margin_px))

    @property
    def left(self) -> float:
        """The x of the left edge, overscan included."""
        return -self.margin

    @property
    def right(self) -> float:
        """The x of the right edge, overscan included."""
        return 1 + self.margin

    @property
    def top(self) -> float:
        """The y of the upper edge, overscan included."""
        return -self.margin

    @property
    def bottom(self) -> float:
        """The y of the lower edge, overscan included."""
        return self.aspect + self.margin

    def sky(self, stops: Sequence[tuple[float, Colour]]) -> None:
        """Fill everything with a smooth vertical run through `stops`, each (y, colour), from top to bottom."""
        height = self.image.height
        ys = (np.arange(height) - self._margin_px) / self.unit_px
        places = [y for y, _ in stops]
        rows = np.stack([np.interp(ys, places, [colour[channel] for _, colour in stops]) for channel in range(3)], 1)
        pixels = np.repeat(rows[:, None, :], self.image.width, axis=1)
        # Noise of a step or two hides the bands that eight bits and a video codec make of a smooth sky.
        pixels += np.random.default_rng(7).uniform(-1.3, 1.3, pixels.shape[:2])[:, :, None]
        rgb = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB")
        self.image.paste(rgb, (0, 0))

    def glow(self, x: float, y: float, radius: float, colour: Colour, strength: float = 1.0) -> None:
        """Light around a point, falling off to nothing at `radius`."""
        size = max(2, round(2 * radius * self.unit_px))
        half = (np.arange(size) + 0.5) / size * 2 - 1
        distance = np.sqrt(half[:, None] ** 2 + half[None, :] ** 2)
        alpha = np.clip(1 - distance, 0, 1) ** 2.2 * strength * 255
        noise = np.random.default_rng(5).uniform(-0.5, 0.5, alpha.shape)
        mask = Image.fromarray(np.clip(alpha + noise, 0, 255).astype(np.uint8), "L")
        corner = (self._px(x) - size // 2, self._px(y) - size // 2)
        self._lay(Image.new("RGBA", mask.size, (*colour, 255)), mask, corner)

    def paint(self, *shapes: Shape, fill: Fill, opacity: float = 1.0, blur: float = 0.0) -> None:
        """Paint all `shapes` as one area in one colour; `blur` is a radius in units."""
        box = self._bounds(shapes, blur)
        if box is None:
            return
        x0, y0, x1, y1 = box
        scale = _SUPERSAMPLING
        mask = Image.new("L", ((x1 - x0) * scale, (y1 - y0) * scale))
        pen = _Pen(ImageDraw.Draw(mask), self.unit_px * scale, self._margin_px * scale, x0 * scale, y0 * scale)
        for shape in shapes:
            pen.draw(shape)
        mask = mask.reduce(scale)
        if blur:
            mask = mask.filter(ImageFilter.GaussianBlur(blur * self.unit_px))
        if opacity < 1:
            mask = mask.point([round(level * opacity) for level in range(256)])
        self._lay(self._paintwork(fill, mask.size, y0), mask, (x0, y0))

    def dots(self, points: Iterable[tuple[float, float, float, float]], colour: Colour) -> None:
        """Many small round lights, each (x, y, radius in units, opacity 0..1)."""
        for x, y, radius, opacity in points:
            self.paint(Oval(x, y, radius), fill=colour, opacity=opacity)

    def shade_edges(self, colour: Colour, strength: float) -> None:
        """Darken towards the corners, as a lens does."""
        height, width = self.image.height, self.image.width
        ys = np.linspace(-1, 1, height)[:, None]
        xs = np.linspace(-1, 1, width)[None, :]
        alpha = np.clip((xs**2 + ys**2) / 2, 0, 1) ** 1.6 * strength * 255
        mask = Image.fromarray(alpha.astype(np.uint8), "L")
        self._lay(Image.new("RGBA", mask.size, (*colour, 255)), mask, (0, 0))

    def _px(self, value: float) -> int:
        return round(value * self.unit_px) + self._margin_px

    def _bounds(self, shapes: Sequence[Shape], blur: float) -> tuple[int, int, int, int] | None:
        boxes = [_extent(shape) for shape in shapes if not isinstance(shape, Cut)]
        reach = blur * 3 + 2 / self.unit_px
        x0 = max(0, self._px(min(box[0] for box in boxes) - reach))
        y0 = max(0, self._px(min(box[1] for box in boxes) - reach))
        x1 = min(self.image.width, self._px(max(box[2] for box in boxes) + reach))
        y1 = min(self.image.height, self._px(max(box[3] for box in boxes) + reach))
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def _paintwork(self, fill: Fill, size: tuple[int, int], y0_px: int) -> Image.Image:
        if not isinstance(fill, Gradient):
            return Image.new("RGBA", size, (*fill, 255))
        ys = (np.arange(size[1]) + y0_px - self._margin_px) / self.unit_px
        share = np.clip((ys - fill.y0) / max(1e-6, fill.y1 - fill.y0), 0, 1)[:, None]
        rows = np.array(fill.top) * (1 - share) + np.array(fill.bottom) * share
        pixels = np.repeat(rows[:, None, :], size[0], axis=1)
        pixels += np.random.default_rng(3).uniform(-1.0, 1.0, pixels.shape[:2])[:, :, None]
        rgb = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB")
        return rgb.convert("RGBA")

    def _lay(self, paint: Image.Image, mask: Image.Image, corner: tuple[int, int]) -> None:
        x, y = corner
        crop = (
            max(0, -x),
            max(0, -y),
            min(mask.width, self.image.width - x),
            min(mask.height, self.image.height - y),
        )
        if crop[2] <= crop[0] or crop[3] <= crop[1]:
            return
        paint = paint.copy() if crop == (0, 0, *mask.size) else paint.crop(crop)
        paint.putalpha(mask.crop(crop))
        self.image.alpha_composite(paint, (x + crop[0], y + crop[1]))


class _Pen:
    """Draws shapes on an enlarged mask whose upper left corner is at (x0, y0) of the enlarged picture."""

    def __init__(self, draw: ImageDraw.ImageDraw, unit: int, margin: int, x0: int, y0: int) -> None:
        self._draw = draw
        self._unit = unit
        self._dx = margin - x0
        self._dy = margin - y0

    def draw(self, shape: Shape, ink: int = 255) -> None:
        match shape:
            case Cut(inner):
                self.draw(inner, 0)
            case Poly(points):
                self._draw.polygon([self._at(*point) for point in points], fill=ink)
            case Oval(x, y, rx, ry):
                ry = rx if ry is None else ry
                self._draw.ellipse([self._at(x - rx, y - ry), self._at(x + rx, y + ry)], fill=ink)
            case Bar(x0, y0, x1, y1, r):
                self._draw.rounded_rectangle([self._at(x0, y0), self._at(x1, y1)], radius=r * self._unit, fill=ink)
            case Stroke(points, width):
                pixels = [self._at(*point) for point in points]
                self._draw.line(pixels, fill=ink, width=max(1, round(width * self._unit)), joint="curve")
                for x, y in (points[0], points[-1]):
                    self.draw(Oval(x, y, width / 2), ink)

    def _at(self, x: float, y: float) -> Point:
        return x * self._unit + self._dx, y * self._unit + self._dy


def smooth(points: Sequence[Point], *, closed: bool = True, steps: int = 8) -> list[Point]:
    """A Catmull-Rom curve through `points`, `steps` pieces between each two of them."""
    count = len(points)
    curve: list[Point] = []
    for i in range(count if closed else count - 1):
        p0, p1, p2, p3 = (
            points[(i + k) % count] if closed else points[min(count - 1, max(0, i + k))] for k in (-1, 0, 1, 2)
        )
        for step in range(steps):
            t = step / steps
            curve.append((_catmull_rom(p0[0], p1[0], p2[0], p3[0], t), _catmull_rom(p0[1], p1[1], p2[1], p3[1], t)))
    if not closed:
        curve.append(points[-1])
    return curve


def _catmull_rom(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def _extent(shape: Poly | Oval | Bar | Stroke) -> tuple[float, float, float, float]:
    match shape:
        case Oval(x, y, rx, ry):
            ry = rx if ry is None else ry
            return x - rx, y - ry, x + rx, y + ry
        case Bar(x0, y0, x1, y1, _):
            return x0, y0, x1, y1
        case Poly(points):
            reach = 0.0
        case Stroke(points, width):
            reach = width
    xs = [x for x, _ in points]
    ys = [y for _, y in points]
    return min(xs) - reach, min(ys) - reach, max(xs) + reach, max(ys) + reach
