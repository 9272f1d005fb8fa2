"""Renders sounds: a short melody for each name, on a pentatonic scale."""

from __future__ import annotations

import array
import hashlib
import math
import sys
import wave
from functools import lru_cache
from pathlib import Path

RATE = 22050  # samples a second
_NOTE_S = 0.25
_SCALE = (0, 2, 4, 7, 9, 12, 14, 16)  # pentatonic, in semitones
_LOWEST_HZ = 261.63
_OVERTONES = ((1, 0.6), (2, 0.25), (3, 0.1))


@lru_cache(maxsize=len(_SCALE))
def _note(semitones: int) -> bytes:
    frequency = _LOWEST_HZ * 2 ** (semitones / 12)
    count = int(RATE * _NOTE_S)
    samples = array.array("h")
    for index in range(count):
        at = index / RATE
        loudness = min(index / 200, 1) * (1 - index / count)  # a soft start, so that notes do not click
        wave_height = sum(part * math.sin(2 * math.pi * frequency * times * at) for times, part in _OVERTONES)
        samples.append(int(16000 * loudness * wave_height))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def render_melody(name: str, seconds: float) -> bytes:
    """Return a melody: mono samples of 16 bits, lowest byte first, :data:`RATE` a second.

    :param name: one name always gives the same melody.
    :param seconds: its length, in seconds.
    """
    steps = hashlib.sha256(name.encode()).digest()[:16]
    notes = math.ceil(seconds / _NOTE_S)
    sound = b"".join(_note(_SCALE[steps[number % len(steps)] % len(_SCALE)]) for number in range(notes))
    return sound[: int(seconds * RATE) * 2]


def write_wav(path: Path, samples: bytes) -> None:
    """Write samples as :func:`render_melody` returns them to a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples)
