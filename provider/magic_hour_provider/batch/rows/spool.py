"""A temporary file of requests, so that memory holds none of them."""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections.abc import Mapping
from typing import Any


class Spool:
    """Requests on disk, by number. Whoever is killed leaves no file behind: it has no name where the system can do so.

    Reading is safe in any thread, once all is written.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="magic-hour-rows-")  # noqa: SIM115 (closed by `close`)
        self._ends = array("Q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, body: Mapping[str, Any]) -> int:
        """Write a request, and return its number, from 0.

        :param body: JSON, which is only read again once :meth:`finish` was called.
        """
        data = json.dumps(body, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))
        return len(self) - 1

    def finish(self) -> None:
        """Make all that was written readable."""
        self._file.flush()

    def read(self, number: int) -> dict[str, Any]:
        """Return a request."""
        begin, end = self._ends[number], self._ends[number + 1]
        data = b""
        while len(data) < end - begin:  # a signal may cut a read short
            piece = os.pread(self._file.fileno(), end - begin - len(data), begin + len(data))
            if not piece:
                raise OSError(f"The temporary file of the batch's rows ends after {begin + len(data)} bytes.")
            data += piece
        body: dict[str, Any] = json.loads(data)
        return body

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
