"""An image that moves over a frame: drawn at any size, with its corner anywhere between the pixels."""

from __future__ import annotations

import math
from typing import Final

from PIL import Image, ImageOps

__all__ = ["Sprite"]

_BORDER_PX: Final = 2


class Sprite:
    """The non-transparent part of an RGBA image, prepared to be drawn many times."""

    def __init__(self, image: Image.Image) -> None:
        box = image.getbbox() or (0, 0, 1, 1)
        # Premultiplied alpha, because resizing averages colours. The transparent border keeps every drawn pixel inside.
        self._image = ImageOps.expand(image.crop(box), _BORDER_PX).convert("RGBa")
        self._dx = box[0] - _BORDER_PX
        self._dy = box[1] - _BORDER_PX

    def draw(self, frame: Image.Image, left: float, top: float, scale: float) -> None:
        """Draw it on an RGB frame, enlarged by `scale`, with the whole image's corner at (left, top) in pixels.

        The corner may lie between pixels, because whole pixels make a slow move tremble. Resizing a part of the image
        costs half as much as an affine transform.
        """
        left, top = left + self._dx * scale, top + self._dy * scale
        x0, y0 = max(0, math.ceil(left)), max(0, math.ceil(top))
        x1 = min(frame.width, math.floor(left + self._image.width * scale))
        y1 = min(frame.height, math.floor(top + self._image.height * scale))
        if x1 <= x0 or y1 <= y0:
            return
        box = ((x0 - left) / scale, (y0 - top) / scale, (x1 - left) / scale, (y1 - top) / scale)
        patch = self._image.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR, box).convert("RGBA")
        frame.paste(patch, (x0, y0), patch)
