"""Uploads of a batch: a file that several rows share is uploaded once per worker."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future

from magic_hour_provider import clock
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.transport.uploads import UploadSource, upload_all

_MAX_KEPT = 2048
_LIFE_S = 6 * 24 * 3600.0  # an upload is valid for 7 days


class SharedUploads:
    """Remembers what was uploaded. Threads may share it: of two that want one file, the second waits for the first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, int], tuple[float, Future[str]]] = OrderedDict()

    def upload(self, client: MagicHourClient, source: UploadSource, uri: str) -> str:
        """Return the reference of a file.

        :param uri: of the file.
        :raises MagicHourError: as :func:`upload_all`; the next one that wants the file tries again.
        """
        key, now = (uri, source.kind, source.size), clock.current().monotonic()
        with self._lock:
            found = self._known.get(key)
            if found is not None and now - found[0] > _LIFE_S:
                found = None
            is_first = found is None
            future: Future[str] = Future() if found is None else found[1]
            if is_first:
                self._known[key] = now, future
                while len(self._known) > _MAX_KEPT:
                    self._known.popitem(last=False)
        if not is_first:
            return future.result()
        try:
            (reference,) = upload_all(client, [source])
        except BaseException as error:
            with self._lock:
                self._known.pop(key, None)
            future.set_exception(error)
            raise
        future.set_result(reference)
        return reference
