"""Renders images: a landscape for each name, and the caption that says which job made a file."""

from __future__ import annotations

import colorsys
import hashlib
import math
import random
from collections.abc import Iterator

from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

Size = tuple[int, int]
Colour = tuple[int, int, int]

_ZOOM = 0.12
_PANEL = (18, 18, 28)
_LINES = 2


def _hue(name: str) -> float:
    return hashlib.sha256(name.encode()).digest()[0] / 256


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return int(red * 255), int(green * 255), int(blue * 255)


def draw_landscape(size: Size, name: str) -> Image.Image:
    """Return a picture of hills under a low sun.

    :param size: width and height in pixels.
    :param name: one name always gives the same picture.
    """
    width, height = size
    rng = random.Random(name)  # noqa: S311 - decoration, nothing secret
    hue = rng.random()
    sky = ImageOps.colorize(
        Image.linear_gradient("L").resize(size), _colour(hue, 0.75, 0.45), _colour(hue + 0.12, 0.35, 1.0)
    )
    draw = ImageDraw.Draw(sky)
    radius = min(size) * rng.uniform(0.08, 0.14)
    x, y = width * rng.uniform(0.2, 0.8), height * rng.uniform(0.25, 0.45)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(hue + 0.12, 0.12, 1.0))
    for layer in range(4):
        base, swing = height * (0.45 + 0.12 * layer), height * 0.07
        slow, fast, shift = rng.uniform(1, 2), rng.uniform(3, 6), rng.uniform(0, 6)
        ridge = []
        for step in range(0, width + 8, 8):
            along = 6 * step / width
            bump = math.sin(slow * along + shift) + math.sin(fast * along) / 3
            ridge.append((step, base + swing * bump))
        draw.polygon([(0, height), *ridge, (width, height)], fill=_colour(hue + 0.03 * layer, 0.6, 0.62 - 0.13 * layer))
    return sky


def fit_image(picture: Image.Image, size: Size) -> Image.Image:
    """Return a picture at another size; where the proportions differ much, over a blurred copy of itself."""
    picture = picture.convert("RGB")
    stretch = (picture.width / picture.height) / (size[0] / size[1])
    filled = ImageOps.fit(picture, size)
    if 0.85 < stretch < 1.18:
        return filled
    whole = ImageOps.contain(picture, size)
    ground = filled.filter(ImageFilter.GaussianBlur(18)).point(lambda level: level * 0.6)
    ground.paste(whole, ((size[0] - whole.width) // 2, (size[1] - whole.height) // 2))
    return ground


def tint(picture: Image.Image, tool: str) -> Image.Image:
    """Return a picture with a little of a tool's own colour over it."""
    return Image.blend(picture, Image.new("RGB", picture.size, _colour(_hue(tool), 0.6, 0.9)), 0.14)


def draw_caption(size: Size, tool: str, title: str, text: str, note: str) -> Image.Image:
    """Return the caption for the lower edge of a picture.

    :param size: size of the picture, in pixels.
    :param tool: slug that decides the colour of the edge.
    :param title: first line.
    :param text: what was asked for; wrapped, and cut when long.
    :param note: last line, small.
    """
    width, unit = size[0], max(min(size[0], size[1] * 2) // 40, 12)
    large, middle, small = (ImageFont.load_default(unit * times) for times in (1.35, 1.05, 0.8))
    room = width - 2 * unit
    lines = _wrapped(text, middle, room) if text else []
    height = int(unit * (3.6 + 1.35 * len(lines))) // 2 * 2  # even, as the colours of films have half the lines
    image = Image.new("RGB", (width, height), _PANEL)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width, max(unit // 4, 2)), fill=_colour(_hue(tool), 0.6, 0.95))
    y = unit * 0.6
    draw.text((unit, y), title, font=large, fill=(255, 255, 255))
    y += unit * 1.7
    for line in lines:
        draw.text((unit, y), line, font=middle, fill=(222, 222, 232))
        y += unit * 1.35
    draw.text((unit, y), _wrapped(note, small, room)[0], font=small, fill=(150, 150, 170))
    return image


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> list[str]:
    """Break a text into the lines that fit, the last one cut if need be."""
    lines = [""]
    # A long prompt need not be measured to its end to fill two lines.
    for word in text[:400].split():
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or font.getlength(longer) <= room:
            lines[-1] = longer
        elif len(lines) < _LINES:
            lines.append(word)
        else:
            lines[-1] += " ..."
            break
    for number, line in enumerate(lines):
        while font.getlength(line) > room:
            line = line[:-2]
        lines[number] = line
    return lines


def add_caption(picture: Image.Image, caption: Image.Image) -> Image.Image:
    """Return a picture with a caption over its lower edge."""
    whole = picture.copy()
    whole.paste(caption, (0, picture.height - caption.height))
    return whole


def zoom_frames(picture: Image.Image, count: int) -> Iterator[Image.Image]:
    """Yield the frames of a slow zoom into a picture, at its own size.

    :param count: how many frames.
    """
    width, height = picture.size
    for number in range(count):
        cut = _ZOOM / 2 * number / max(count - 1, 1)
        box = (width * cut, height * cut, width * (1 - cut), height * (1 - cut))
        yield picture.resize(picture.size, Image.Resampling.BILINEAR, box=box)
