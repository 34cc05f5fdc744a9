"""The hero's place and size, and the camera's move: both depend on the scene alone."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final

from pipelines.shorts.paint.scene import Scene
from pipelines.shorts.vocabulary import Hero

__all__ = ["OVERSCAN", "Camera", "Staging", "stage"]

OVERSCAN: Final = 0.09
"""How much more than the frame is painted on each side, as a share of the width: room for the camera."""

_FLYERS: Final[frozenset[Hero]] = frozenset({"bird", "rocket", "balloon", "whale"})
_BREATHERS: Final[frozenset[Hero]] = frozenset({"cat", "dog", "rabbit", "bear", "person"})
_SIZES: Final = {"wide": 0.4, "hero": 0.56, "close": 0.74}
_GROUND_Y: Final = 1.27
"""The height of the feet of a hero that walks."""
_GROUND_DEPTH: Final = 1.7
"""The near ground moves this many times as far as the backdrop when the camera moves."""


@dataclass(frozen=True)
class Camera:
    """A view: enlargement from 1, and a shift in units of the width."""

    zoom: float
    dx: float
    dy: float

    def nearer(self) -> Camera:
        """The same view for the near ground, which moves further."""
        return Camera(1 + (self.zoom - 1) * _GROUND_DEPTH, self.dx * _GROUND_DEPTH, self.dy)


@dataclass(frozen=True)
class Staging:
    """The hero's square (centre and side, in units of the width) and the scene's moves."""

    x: float
    y: float
    size: float
    floats: bool
    in_water: bool
    helmet: bool
    hull: bool
    _zoom: tuple[float, float]
    _pan: tuple[float, float]
    _phase: float

    def camera(self, share: float) -> Camera:
        """The view at `share` (0..1) of the scene's time."""
        eased = share * share * (3 - 2 * share) * 0.5 + share * 0.5
        return Camera(
            zoom=self._zoom[0] + (self._zoom[1] - self._zoom[0]) * eased,
            dx=self._pan[0] + (self._pan[1] - self._pan[0]) * eased,
            dy=0.0,
        )

    def hero_offset(self, time_s: float) -> tuple[float, float]:
        """How far the hero is from its place at `time_s`: floating, rocking, or a small hop."""
        if self.floats:
            swing = math.sin(time_s * 1.7 + self._phase)
            return 0.012 * math.sin(time_s * 1.1 + self._phase), 0.022 * swing
        if self.in_water:
            return 0.006 * math.sin(time_s * 1.3 + self._phase), 0.011 * math.sin(time_s * 2.1 + self._phase)
        return 0.0, -0.012 * abs(math.sin(time_s * 3.2 + self._phase)) ** 3


def stage(scene: Scene) -> Staging:
    """Place the hero of `scene` and choose a move for the camera."""
    rng = random.Random(scene.seed ^ 0xCA3E)
    weightless = scene.backdrop in ("space", "underwater")
    in_water = scene.backdrop == "sea" and scene.hero not in ("bird", "rocket", "balloon")
    floats = not in_water and (scene.hero in _FLYERS or (weightless and scene.hero not in ("train", "car", "flower")))
    size = _SIZES[scene.shot]
    side = rng.choice((-1, 1))
    x = 0.5 + (side * rng.uniform(0.08, 0.16) if scene.shot == "wide" else 0.0)
    if floats:
        y = 0.9 if scene.shot == "wide" else 0.86
    elif in_water:
        y = _GROUND_Y + 0.03 - size * (0.36 if scene.hero == "whale" else 0.46)
    else:
        feet = _GROUND_Y + (0.05 if scene.shot == "close" else 0.03)
        y = feet - size * 0.45
    near, far = {"wide": (1.0, 1.07), "hero": (1.02, 1.1), "close": (1.1, 1.03)}[scene.shot]
    pan = 0.022 * side
    return Staging(
        x=x,
        y=y,
        size=size,
        floats=floats,
        in_water=in_water,
        helmet=weightless and scene.hero in _BREATHERS,
        hull=in_water and scene.hero not in ("boat", "whale"),
        _zoom=(near, far),
        _pan=(-pan, pan) if scene.shot == "wide" else (-pan * 0.4, pan * 0.4),
        _phase=rng.uniform(0, 6.28),
    )
