"""Who a film is about: animals, a person, a robot, a bird and a whale, each on a square of its own, feet at 0.95."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Final

from pipelines.shorts.paint.canvas import Bar, Canvas, Cut, Gradient, Oval, Poly, Stroke, smooth
from pipelines.shorts.paint.palette import Colour, mix, shade
from pipelines.shorts.paint.tones import WHITE, Tones
from pipelines.shorts.vocabulary import Hero

__all__ = ["CHARACTERS", "in_light", "paint_helmet"]

_INK: Final[Colour] = (38, 30, 44)
_CHEEK: Final[Colour] = (255, 132, 128)
_FURS: Final[Mapping[str, tuple[Colour, ...]]] = {
    "cat": ((240, 150, 70), (88, 92, 110), (250, 240, 226), (60, 54, 66)),
    "dog": ((214, 160, 96), (250, 238, 218), (150, 104, 70)),
    "rabbit": ((250, 244, 238), (206, 190, 176), (238, 206, 196)),
    "bear": ((150, 100, 66), (104, 78, 64), (238, 232, 226)),
}


def in_light(colour: Colour, tones: Tones) -> Colour:
    """`colour` as it looks in the light of the scene."""
    share = {"dawn": 0.14, "day": 0.0, "sunset": 0.2, "night": 0.3}[tones.light]
    return mix(colour, mix(tones.top, tones.middle, 0.5), share)


def _animal(kind: Hero) -> Callable[[Canvas, Tones, random.Random], None]:
    def paint(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
        fur = in_light(rng.choice(_FURS[kind]), tones)
        belly = mix(fur, in_light((255, 248, 238), tones), 0.7)
        dark = shade(fur, 0.22)
        _tail(canvas, kind, fur, belly)
        canvas.paint(Oval(0.5, 0.72, 0.2, 0.23), fill=Gradient(fur, dark, 0.5, 0.95))
        canvas.paint(Oval(0.5, 0.77, 0.12, 0.16), fill=belly)
        canvas.paint(Oval(0.4, 0.92, 0.085, 0.05), Oval(0.6, 0.92, 0.085, 0.05), fill=mix(fur, belly, 0.35))
        scarf = in_light(tones.accent, tones)
        _ears(canvas, kind, fur, belly, behind=True)
        canvas.paint(Oval(0.5, 0.38, 0.245, 0.205), fill=Gradient(mix(fur, WHITE, 0.12), fur, 0.18, 0.55))
        _ears(canvas, kind, fur, belly, behind=False)
        canvas.paint(
            Poly(smooth([(0.31, 0.54), (0.5, 0.6), (0.69, 0.54), (0.66, 0.6), (0.5, 0.655), (0.34, 0.6)])),
            Poly(smooth([(0.62, 0.6), (0.7, 0.74), (0.63, 0.77), (0.57, 0.62)])),
            fill=Gradient(scarf, shade(scarf, 0.2), 0.54, 0.78),
        )
        _face(canvas, kind, belly)
        if kind == "cat" and belly != fur:
            for x in (0.45, 0.5, 0.55):
                canvas.paint(Stroke([(x, 0.2), (x, 0.235)], 0.016), fill=dark)

    return paint


def _tail(canvas: Canvas, kind: Hero, fur: Colour, belly: Colour) -> None:
    if kind == "cat":
        curve = smooth([(0.66, 0.88), (0.82, 0.86), (0.86, 0.7), (0.79, 0.58)], closed=False)
        canvas.paint(Stroke(curve, 0.065), fill=shade(fur, 0.12))
    elif kind == "dog":
        canvas.paint(Stroke(smooth([(0.66, 0.8), (0.78, 0.74), (0.8, 0.64)], closed=False), 0.07), fill=shade(fur, 0.1))
    else:
        canvas.paint(Oval(0.7, 0.83, 0.07), fill=mix(fur, belly, 0.5))


def _ears(canvas: Canvas, kind: Hero, fur: Colour, belly: Colour, *, behind: bool) -> None:
    inner = mix(_CHEEK, belly, 0.45)
    for side in (-1, 1):
        if kind == "cat" and behind:
            outer = [(0.5 + side * 0.235, 0.36), (0.5 + side * 0.235, 0.1), (0.5 + side * 0.06, 0.22)]
            canvas.paint(Poly(outer), fill=fur)
            canvas.paint(
                Poly([(0.5 + side * 0.205, 0.29), (0.5 + side * 0.205, 0.155), (0.5 + side * 0.11, 0.22)]),
                fill=inner,
            )
        elif kind == "rabbit" and behind:
            lean = side * 0.05
            canvas.paint(
                Poly(
                    smooth(
                        [
                            (0.5 + side * 0.05, 0.24),
                            (0.5 + side * 0.05 + lean * 0.4, 0.06),
                            (0.5 + side * 0.12 + lean, 0.0),
                            (0.5 + side * 0.17 + lean, 0.07),
                            (0.5 + side * 0.17, 0.26),
                        ]
                    )
                ),
                fill=fur,
            )
            canvas.paint(Oval(0.5 + side * 0.115 + lean * 0.7, 0.12, 0.028, 0.085), fill=inner)
        elif kind == "bear" and behind:
            canvas.paint(Oval(0.5 + side * 0.185, 0.22, 0.085), fill=fur)
            canvas.paint(Oval(0.5 + side * 0.185, 0.22, 0.048), fill=inner)
        elif kind == "dog" and not behind:
            flap = [
                (0.5 + side * 0.14, 0.2),
                (0.5 + side * 0.25, 0.21),
                (0.5 + side * 0.295, 0.38),
                (0.5 + side * 0.25, 0.48),
                (0.5 + side * 0.2, 0.36),
            ]
            canvas.paint(Poly(smooth(flap)), fill=shade(fur, 0.28))


def _face(canvas: Canvas, kind: Hero, belly: Colour) -> None:
    if kind in ("dog", "bear"):
        canvas.paint(Oval(0.5, 0.455, 0.115, 0.085), fill=belly)
    eyes = [Oval(x, 0.39, 0.026, 0.033) for x in (0.4, 0.6)]
    canvas.paint(*eyes, fill=_INK)
    canvas.paint(*(Oval(x + 0.009, 0.378, 0.009) for x in (0.4, 0.6)), fill=WHITE)
    canvas.paint(Oval(0.335, 0.455, 0.035, 0.022), Oval(0.665, 0.455, 0.035, 0.022), fill=_CHEEK, opacity=0.55)
    nose = (0.026, 0.018) if kind in ("dog", "bear") else (0.017, 0.012)
    canvas.paint(Oval(0.5, 0.435, *nose), fill=_INK if kind in ("dog", "bear") else (226, 110, 116))
    smile = [
        (0.5 + dx, 0.452 + 0.024 * math.sin(abs(dx) / 0.05 * math.pi)) for dx in (i * 0.005 for i in range(-10, 11))
    ]
    canvas.paint(Stroke(smile, 0.009), fill=_INK)
    if kind == "cat":
        for side in (-1, 1):
            for lift in (-0.012, 0.016):
                canvas.paint(
                    Stroke([(0.5 + side * 0.2, 0.46 + lift), (0.5 + side * 0.31, 0.455 + lift * 2.2)], 0.006),
                    fill=WHITE,
                    opacity=0.8,
                )


def _person(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    skin = in_light(rng.choice(((255, 219, 190), (241, 194, 150), (198, 140, 98))), tones)
    hair = in_light(rng.choice(((52, 38, 40), (90, 58, 40), (30, 30, 44), (150, 84, 50))), tones)
    coat = in_light(tones.accent, tones)
    trousers = in_light((98, 106, 150), tones)
    canvas.paint(Bar(0.42, 0.72, 0.485, 0.93, 0.02), Bar(0.515, 0.72, 0.58, 0.93, 0.02), fill=trousers)
    canvas.paint(Oval(0.44, 0.935, 0.06, 0.03), Oval(0.56, 0.935, 0.06, 0.03), fill=shade(trousers, 0.25))
    canvas.paint(Bar(0.3, 0.47, 0.42, 0.74, 0.05), fill=in_light((176, 116, 74), tones))  # the rucksack shows behind
    body = smooth([(0.41, 0.46), (0.59, 0.46), (0.66, 0.6), (0.67, 0.78), (0.33, 0.78), (0.35, 0.6)])
    canvas.paint(Poly(body), fill=Gradient(mix(coat, WHITE, 0.12), shade(coat, 0.2), 0.45, 0.8))
    for side in (-1, 1):
        arm = smooth([(0.5 + side * 0.13, 0.51), (0.5 + side * 0.2, 0.6), (0.5 + side * 0.185, 0.71)], closed=False)
        canvas.paint(Stroke(arm, 0.075), fill=shade(coat, 0.14))
        canvas.paint(Oval(0.5 + side * 0.185, 0.735, 0.036), fill=skin)
    canvas.paint(Oval(0.5, 0.3, 0.185, 0.19), fill=hair)
    if rng.random() < 0.5:
        canvas.paint(
            Poly(smooth([(0.33, 0.28), (0.31, 0.46), (0.38, 0.5), (0.62, 0.5), (0.69, 0.46), (0.67, 0.28)])),
            fill=hair,
        )
    canvas.paint(Oval(0.5, 0.335, 0.155, 0.148), fill=skin)
    canvas.paint(
        Poly(
            smooth(
                [
                    (0.335, 0.3),
                    (0.38, 0.19),
                    (0.5, 0.15),
                    (0.62, 0.19),
                    (0.665, 0.3),
                    (0.6, 0.25),
                    (0.52, 0.235),
                    (0.42, 0.265),
                ]
            )
        ),
        fill=hair,
    )
    scarf = in_light(mix(tones.glow, tones.accent, 0.2), tones)
    canvas.paint(
        Poly(smooth([(0.38, 0.45), (0.5, 0.48), (0.62, 0.45), (0.61, 0.51), (0.5, 0.54), (0.39, 0.51)])),
        fill=scarf,
    )
    canvas.paint(Oval(0.435, 0.345, 0.019, 0.025), Oval(0.565, 0.345, 0.019, 0.025), fill=_INK)
    canvas.paint(Oval(0.441, 0.336, 0.007), Oval(0.571, 0.336, 0.007), fill=WHITE)
    canvas.paint(Oval(0.39, 0.395, 0.028, 0.017), Oval(0.61, 0.395, 0.028, 0.017), fill=_CHEEK, opacity=0.5)
    smile = [(0.5 + dx, 0.4 + 0.016 * math.cos(dx / 0.04 * 1.57)) for dx in (i * 0.005 for i in range(-8, 9))]
    canvas.paint(Stroke(smile, 0.008), fill=_INK)


def _robot(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    metal = in_light((208, 216, 230), tones)
    trim = in_light(tones.accent, tones)
    canvas.paint(Bar(0.38, 0.8, 0.46, 0.95, 0.02), Bar(0.54, 0.8, 0.62, 0.95, 0.02), fill=shade(metal, 0.35))
    canvas.paint(Bar(0.35, 0.9, 0.47, 0.95, 0.022), Bar(0.53, 0.9, 0.65, 0.95, 0.022), fill=trim)
    for side in (-1, 1):
        arm = smooth([(0.5 + side * 0.2, 0.58), (0.5 + side * 0.29, 0.64), (0.5 + side * 0.27, 0.76)], closed=False)
        canvas.paint(Stroke(arm, 0.05), fill=shade(metal, 0.3))
        canvas.paint(Oval(0.5 + side * 0.27, 0.78, 0.045), fill=trim)
    canvas.paint(Bar(0.3, 0.52, 0.7, 0.84, 0.09), fill=Gradient(metal, shade(metal, 0.28), 0.52, 0.84))
    canvas.paint(Bar(0.4, 0.6, 0.6, 0.74, 0.03), fill=shade(metal, 0.5))
    canvas.paint(
        Poly(
            smooth(
                [
                    (0.5, 0.72),
                    (0.44, 0.665),
                    (0.455, 0.63),
                    (0.485, 0.63),
                    (0.5, 0.65),
                    (0.515, 0.63),
                    (0.545, 0.63),
                    (0.56, 0.665),
                ]
            )
        ),
        fill=trim,
    )
    canvas.paint(Stroke([(0.5, 0.16), (0.5, 0.08)], 0.018), fill=shade(metal, 0.3))
    canvas.glow(0.5, 0.07, 0.12, trim, 0.8)
    canvas.paint(Oval(0.5, 0.07, 0.032), fill=mix(trim, WHITE, 0.4))
    canvas.paint(Bar(0.2, 0.27, 0.8, 0.4, 0.05), fill=shade(metal, 0.3))
    canvas.paint(
        Bar(0.25, 0.15, 0.75, 0.5, 0.12),
        fill=Gradient(mix(metal, WHITE, 0.35), shade(metal, 0.12), 0.15, 0.5),
    )
    canvas.paint(Bar(0.31, 0.21, 0.69, 0.43, 0.08), fill=(28, 34, 62))
    eye = mix(trim, (120, 240, 255), 0.65)
    for x in (0.41, 0.59):
        canvas.glow(x, 0.31, 0.09, eye, 0.7)
    canvas.paint(Oval(0.41, 0.31, 0.034, 0.042), Oval(0.59, 0.31, 0.034, 0.042), fill=mix(eye, WHITE, 0.35))
    smile = [(0.5 + dx, 0.365 + 0.018 * math.cos(dx / 0.05 * 1.57)) for dx in (i * 0.005 for i in range(-10, 11))]
    canvas.paint(Stroke(smile, 0.012), fill=eye)


def _bird(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    body = in_light(rng.choice(((96, 156, 232), (255, 255, 250), (240, 122, 104), (255, 205, 92))), tones)
    wing = shade(body, 0.22)
    canvas.paint(Poly(smooth([(0.2, 0.52), (0.0, 0.46), (0.02, 0.56), (0.06, 0.62), (0.2, 0.62)])), fill=wing)
    far = smooth([(0.5, 0.46), (0.6, 0.14), (0.74, 0.1), (0.68, 0.3), (0.62, 0.5)])
    canvas.paint(Poly(far), fill=shade(body, 0.35))
    canvas.paint(
        Poly(
            smooth(
                [
                    (0.12, 0.57),
                    (0.32, 0.46),
                    (0.58, 0.4),
                    (0.78, 0.4),
                    (0.86, 0.5),
                    (0.78, 0.63),
                    (0.56, 0.71),
                    (0.3, 0.67),
                ]
            )
        ),
        fill=Gradient(mix(body, WHITE, 0.25), body, 0.4, 0.7),
    )
    canvas.paint(Poly(smooth([(0.35, 0.64), (0.6, 0.6), (0.78, 0.59), (0.56, 0.71)])), fill=mix(body, WHITE, 0.7))
    near = smooth([(0.36, 0.52), (0.26, 0.24), (0.3, 0.06), (0.44, 0.16), (0.56, 0.34), (0.58, 0.53)])
    canvas.paint(Poly(near), fill=Gradient(mix(wing, WHITE, 0.2), wing, 0.1, 0.5))
    canvas.paint(Poly([(0.84, 0.47), (0.97, 0.52), (0.83, 0.56)]), fill=in_light((255, 168, 60), tones))
    canvas.paint(Oval(0.76, 0.48, 0.026), fill=_INK)
    canvas.paint(Oval(0.768, 0.472, 0.009), fill=WHITE)
    canvas.paint(Oval(0.72, 0.535, 0.03, 0.018), fill=_CHEEK, opacity=0.55)


def _whale(canvas: Canvas, tones: Tones, rng: random.Random) -> None:
    skin = in_light(rng.choice(((70, 110, 190), (84, 96, 150), (60, 140, 170))), tones)
    belly = in_light((236, 242, 250), tones)
    canvas.paint(
        Poly(
            smooth(
                [
                    (0.84, 0.5),
                    (0.92, 0.34),
                    (0.82, 0.24),
                    (0.93, 0.26),
                    (0.98, 0.3),
                    (1.0, 0.22),
                    (1.0, 0.36),
                    (0.95, 0.5),
                    (0.86, 0.66),
                ]
            )
        ),
        fill=shade(skin, 0.12),
    )
    back = smooth(
        [
            (0.04, 0.56),
            (0.1, 0.38),
            (0.32, 0.28),
            (0.58, 0.34),
            (0.8, 0.46),
            (0.93, 0.44),
            (0.86, 0.66),
            (0.62, 0.8),
            (0.3, 0.82),
            (0.1, 0.74),
        ]
    )
    canvas.paint(Poly(back), fill=Gradient(mix(skin, WHITE, 0.18), shade(skin, 0.15), 0.28, 0.82))
    under = smooth([(0.06, 0.64), (0.26, 0.66), (0.5, 0.64), (0.74, 0.66), (0.6, 0.79), (0.3, 0.815), (0.12, 0.75)])
    canvas.paint(Poly(under), fill=belly)
    for y in (0.695, 0.735, 0.775):
        canvas.paint(
            Stroke([(0.14 + (y - 0.69) * 0.6, y), (0.5, y - 0.006)], 0.006),
            fill=mix(belly, skin, 0.4),
            opacity=0.8,
        )
    canvas.paint(Poly(smooth([(0.38, 0.68), (0.5, 0.7), (0.52, 0.86), (0.42, 0.92)])), fill=shade(skin, 0.2))
    canvas.paint(Oval(0.19, 0.56, 0.026, 0.03), fill=_INK)
    canvas.paint(Oval(0.184, 0.55, 0.009), fill=WHITE)
    canvas.paint(Oval(0.23, 0.62, 0.035, 0.02), fill=_CHEEK, opacity=0.5)
    spray = [
        Stroke(smooth([(0.32, 0.27), (0.32 + dx * 0.5, 0.14), (0.32 + dx, 0.16)], closed=False), 0.02)
        for dx in (-0.12, 0.12)
    ]
    canvas.paint(*spray, Stroke([(0.32, 0.27), (0.32, 0.12)], 0.02), fill=mix(WHITE, tones.middle, 0.2), opacity=0.85)


def paint_helmet(canvas: Canvas, hero: Hero) -> None:
    """A glass helmet around the head of an animal or a person."""
    x, y, r = (0.5, 0.33, 0.265) if hero == "person" else (0.5, 0.34, 0.325)
    canvas.paint(Oval(x, y, r), fill=(190, 225, 255), opacity=0.16)
    canvas.paint(Oval(x, y, r), Cut(Oval(x, y, r - 0.017)), fill=(235, 245, 255), opacity=0.85)
    shine = [(x + math.cos(a) * r * 0.8, y + math.sin(a) * r * 0.8) for a in (3.5 + i * 0.04 for i in range(18))]
    canvas.paint(Stroke(shine, 0.024), fill=WHITE, opacity=0.75)
    collar = y + r * 0.86
    canvas.paint(Bar(x - r * 0.5, collar, x + r * 0.5, collar + 0.055, 0.027), fill=(225, 232, 242))


CHARACTERS: Final[Mapping[Hero, Callable[[Canvas, Tones, random.Random], None]]] = {
    "cat": _animal("cat"),
    "dog": _animal("dog"),
    "rabbit": _animal("rabbit"),
    "bear": _animal("bear"),
    "person": _person,
    "robot": _robot,
    "bird": _bird,
    "whale": _whale,
}
