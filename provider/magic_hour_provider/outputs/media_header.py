"""What a file's header says of it, read while it is downloaded: width, height, duration. No decoder is needed.

PNG (https://www.w3.org/TR/png-3/), JPEG (ITU T.81), GIF89a, WebP (RFC 9649), MP4 and its kin (ISO 14496-12), WAV, MP3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from struct import error as StructError
from struct import unpack_from
from typing import NamedTuple

_HEAD = 64 * 1024  # bytes kept of a file's beginning
_TAIL = 256 * 1024  # and of its end, where encoders put an MP4's header
_MAX_SIDE = 1 << 20  # pixels
_MAX_S = 30 * 24 * 3600.0
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_MP3_RATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # kbit/s, of MPEG 1 layer III
_MP3_RATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # of MPEG 2 and 2.5
_MP3_SAMPLES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # per second, by version


class MediaFacts(NamedTuple):
    """What is known of a file.

    :param width: pixels.
    :param height: pixels.
    :param duration_s: seconds.
    """

    width: int | None = None
    height: int | None = None
    duration_s: float | None = None


class HeaderReader:
    """Keeps the two ends of a file that is written through it."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget what was written."""
        self._head, self._tail, self._size = bytearray(), bytearray(), 0

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        self._size += len(data)
        if len(self._head) < _HEAD:
            self._head += data[: _HEAD - len(self._head)]
        self._tail += data[-_TAIL:]
        if len(self._tail) > 2 * _TAIL:
            del self._tail[:-_TAIL]

    def read_facts(self) -> MediaFacts:
        """Return what the header says, as far as it can be true; a broken one says nothing."""
        try:
            facts = _read(bytes(self._head), bytes(self._tail), self._size)
        except (StructError, IndexError, ValueError, ZeroDivisionError):
            return MediaFacts()
        is_size = all(side is not None and 0 < side <= _MAX_SIDE for side in facts[:2])
        seconds = facts.duration_s
        is_duration = seconds is not None and math.isfinite(seconds) and 0 < seconds <= _MAX_S
        return MediaFacts(
            facts.width if is_size else None,
            facts.height if is_size else None,
            round(seconds, 3) if is_duration and seconds is not None else None,
        )


def _read(head: bytes, tail: bytes, size: int) -> MediaFacts:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return MediaFacts(*unpack_from(">II", head, 16))
    if head.startswith((b"GIF87a", b"GIF89a")):
        return MediaFacts(*unpack_from("<HH", head, 6))
    if head.startswith(b"\xff\xd8"):
        return _read_jpeg(head)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _read_webp(head)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return _read_wav(head, size)
    if head[4:8] == b"ftyp":
        return _read_mp4(head, tail, size)
    if head.startswith(b"ID3") or (head[:1] == b"\xff" and head[1] & 0xE0 == 0xE0):
        return _read_mp3(head, size)
    return MediaFacts()


def _read_jpeg(head: bytes) -> MediaFacts:
    at = 2
    while head[at] == 0xFF:
        marker = head[at + 1]
        if marker in _JPEG_FRAMES:
            height, width = unpack_from(">HH", head, at + 5)
            return MediaFacts(width, height)
        at += 2 + unpack_from(">H", head, at + 2)[0]
    return MediaFacts()


def _read_webp(head: bytes) -> MediaFacts:
    kind = head[12:16]
    if kind == b"VP8 ":
        width, height = unpack_from("<HH", head, 26)
        return MediaFacts(width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = unpack_from("<I", head, 21)
        return MediaFacts((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        return MediaFacts(int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1)
    return MediaFacts()


def _read_wav(head: bytes, size: int) -> MediaFacts:
    at, bytes_per_s = 12, 0
    while at + 8 <= len(head):
        name, length = head[at : at + 4], unpack_from("<I", head, at + 4)[0]
        if name == b"fmt ":
            (bytes_per_s,) = unpack_from("<I", head, at + 16)
        elif name == b"data":
            # One that was streamed does not know its length.
            return MediaFacts(duration_s=min(length, size - at - 8) / bytes_per_s)
        at += 8 + length + length % 2
    return MediaFacts()


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, beginning and end of the content of each box of an MP4, also where it goes beyond the data."""
    while at + 8 <= min(end, len(data)):
        length, name, begin = unpack_from(">I", data, at)[0], data[at + 4 : at + 8], at + 8
        if length == 1:
            length, begin = unpack_from(">Q", data, begin)[0], at + 16
        stop = at + length if length else end
        if stop < begin:
            return
        yield name, begin, stop
        at = stop


def _read_mp4(head: bytes, tail: bytes, size: int) -> MediaFacts:
    stop = 0
    for name, begin, stop in _boxes(head, 0, size):
        if name == b"moov":
            return _read_movie(head, begin, stop)
    # It is behind the media, which the last box of the beginning goes over.
    at = stop - (size - len(tail))
    if at >= 0:
        for name, begin, stop in _boxes(tail, at, len(tail)):
            if name == b"moov":
                return _read_movie(tail, begin, stop)
    return MediaFacts()


def _read_movie(data: bytes, at: int, end: int) -> MediaFacts:
    width = height = duration = None
    for name, begin, stop in _boxes(data, at, end):
        if name == b"mvhd":
            is_long = data[begin] == 1
            scale, length = unpack_from(">IQ" if is_long else ">II", data, begin + (20 if is_long else 12))
            duration = length / scale
        elif name == b"trak" and width is None:
            width, height = _read_track(data, begin, stop)
    return MediaFacts(width, height, duration)


def _read_track(data: bytes, at: int, end: int) -> tuple[int | None, int | None]:
    for name, begin, _ in _boxes(data, at, end):
        if name == b"tkhd":
            matrix = begin + (52 if data[begin] == 1 else 40)
            width, height = (side >> 16 for side in unpack_from(">II", data, matrix + 36))
            is_turned = unpack_from(">i", data, matrix)[0] == 0  # as telephones film
            if width and height:
                return (height, width) if is_turned else (width, height)
    return None, None


def _read_mp3(head: bytes, size: int) -> MediaFacts:
    at = 0
    if head.startswith(b"ID3"):
        at = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    version, rate, samples_per_s, length = _read_frame(head, at)
    samples = 1152 if version == 3 else 576
    tag = (
        at
        + 4
        + {(True, False): 32, (True, True): 17, (False, False): 17, (False, True): 9}[
            version == 3, head[at + 3] >> 6 == 3
        ]
    )
    if head[tag : tag + 4] in (b"Xing", b"Info") and head[tag + 7] & 1:
        return MediaFacts(duration_s=unpack_from(">I", head, tag + 8)[0] * samples / samples_per_s)
    if _read_frame(head, at + length)[1] != rate:
        return MediaFacts()  # its rate varies, and only all of it says for how long
    return MediaFacts(duration_s=(size - at) * 8 / (rate * 1000))


def _read_frame(head: bytes, at: int) -> tuple[int, int, int, int]:
    """Return version, kbit/s, samples per second and bytes of a frame of layer III.

    :raises ValueError: there is none.
    """
    (bits,) = unpack_from(">I", head, at)
    version, layer = bits >> 19 & 3, bits >> 17 & 3
    if bits >> 21 != 0x7FF or layer != 1 or version not in _MP3_SAMPLES:
        raise ValueError("no MP3 frame")
    rate = (_MP3_RATES if version == 3 else _MP3_RATES_2)[bits >> 12 & 15]
    samples_per_s = _MP3_SAMPLES[version][bits >> 10 & 3]
    return version, rate, samples_per_s, (144 if version == 3 else 72) * rate * 1000 // samples_per_s + (bits >> 9 & 1)
