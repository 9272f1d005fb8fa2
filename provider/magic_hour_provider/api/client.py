"""The client of a worker, which does everything; beside it the triggerer's, which only polls.

Both carry out what :mod:`magic_hour_provider.api.protocol` decides; neither repeats the other's logic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

import httpx

from magic_hour_provider.api import protocol
from magic_hour_provider.api.async_client import AsyncMagicHourClient
from magic_hour_provider.api.catalog import BASE_URL, EXTENSIONS, Tool
from magic_hour_provider.api.errors import InvalidInputError, NotFoundError
from magic_hour_provider.api.models import Account, Download, Job, Submission, UploadLink
from magic_hour_provider.api.responses import Response, transport_error
from magic_hour_provider.api.transport import downloads, http, uploads
from magic_hour_provider.api.transport import streaming as transfers

__all__ = ["AsyncMagicHourClient", "MagicHourClient"]


class MagicHourClient:
    """Everything a worker asks of Magic Hour. Use it as a context manager, or close it.

    :param api_key: the key; sent to ``base_url`` only, never to storage.
    :param base_url: another address: the simulator, or Magic Hour's mock server.
    :param timeout: seconds without any progress after which a request counts as lost.
    :param verify: certificates to trust: True, False, a path, or an SSL context to share.
    :param proxy: address of a proxy, or None.
    :param transport: replaces the network, for tests.
    :raises InvalidInputError: the key or the address cannot be right.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str = BASE_URL,
        timeout: float = http.DEFAULT_TIMEOUT_S,
        verify: http.Verify = True,
        proxy: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.base_url = protocol.check_base_url(base_url)
        self._headers = http.headers(api_key)
        self._common: dict[str, Any] = {
            "timeout": http.timeout(timeout),
            "verify": http.ssl_context(verify),
            "proxy": proxy,
            "transport": transport,
        }
        self._api = httpx.Client(headers=self._headers, follow_redirects=False, **self._common)
        # Storage gets its own client: a signed link carries its own permission and must never meet our key.
        self._storage = httpx.Client(headers={"User-Agent": http.USER_AGENT}, follow_redirects=True, **self._common)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        with http.quiet():
            self._api.close()
            self._storage.close()

    def _send(self, request: protocol.Request, doing: str) -> Response:
        try:
            with http.quiet():
                return Response.of(_send_with(self._api, self.base_url, request))
        except httpx.RequestError as error:
            raise transport_error(error, doing) from None

    def create(self, tool: str | Tool, request: Mapping[str, Any]) -> Submission:
        """Send one paid request, exactly once.

        A fresh connection is used: one kept open from before may have been closed by the other side, and then
        nobody could tell whether the request was read.

        :param tool: the tool or its slug.
        :param request: its JSON body, as in Magic Hour's documentation.
        :returns: the accepted submission.
        :raises MagicHourError: see :func:`magic_hour_provider.api.protocol.read_create`, which decides.
        """
        built = protocol.create_request(tool, request)
        outcome: Response | httpx.RequestError
        with (
            http.quiet(),
            httpx.Client(headers=self._headers, follow_redirects=False, **self._common) as fresh,
        ):
            try:
                outcome = Response.of(_send_with(fresh, self.base_url, built))
            except httpx.RequestError as error:
                outcome = error
        return protocol.read_create(outcome, tool)

    def get_job(self, kind: str, job_id: str) -> Job:
        """Poll a job once.

        :param kind: ``video``, ``image``, ``audio`` or ``face-detection``.
        :param job_id: its id.
        """
        request = protocol.get_job_request(kind, job_id)
        return protocol.read_job(self._send(request, f"polling {kind} job {job_id}"), kind, job_id)

    def find_job(self, kind: str, job_id: str) -> Job:
        """Poll a job once, as :meth:`get_job`; one that is not found with this key has the status ``gone``."""
        try:
            return self.get_job(kind, job_id)
        except NotFoundError:
            return Job.gone(kind, job_id)

    def delete_job(self, kind: str, job_id: str) -> None:
        """Delete a job's output for good. This is no cancel, and refunds nothing."""
        request = protocol.delete_job_request(kind, job_id)
        protocol.read_deleted(self._send(request, f"deleting {kind} job {job_id}"), kind, job_id)

    def get_account(self) -> Account:
        """Return the account behind the key; free, so it also tests the key."""
        return protocol.read_account(self._send(protocol.account_request(), "asking for the account"))

    def list_saved_items(self, *, type: str | None = None) -> list[dict[str, Any]]:  # noqa: A002 (the API's own word)
        """Return all saved characters, voices and so on, of one type or of all."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            request = protocol.saved_items_request(type=type, limit=100, cursor=cursor)
            page, following = protocol.read_saved_items(self._send(request, "asking for the saved items"))
            items += page
            if following is None or following == cursor:
                return items
            cursor = following

    def create_upload_urls(self, items: Sequence[tuple[str, str]]) -> list[UploadLink]:
        """Ask where to put files; ``items`` are (type, extension), such as ``("image", "png")``."""
        request = protocol.upload_links_request(items)
        return protocol.read_upload_links(self._send(request, "asking for upload links"), len(items))

    def upload_to(self, link: UploadLink, source: transfers.Readable, size: int, name: str = "An input file") -> None:
        """Stream an open file of ``size`` bytes to an upload link, once.

        :param name: what people call the file.
        """
        with http.quiet():
            transfers.upload(self._storage, link, source, size, name)

    def upload(self, source: str | Path) -> str:
        """Upload a local file; a failure is met with up to three more tries.

        :param source: path of the file; its extension tells its kind.
        :returns: the reference to use in requests, valid for 7 days.
        """
        path = Path(source)
        extension = path.suffix.lstrip(".").lower()
        kind = next((kind for kind in ("image", "video", "audio", "gif") if extension in EXTENSIONS[kind]), None)
        if kind is None:
            raise InvalidInputError(f"{path} has no extension that Magic Hour takes.")
        try:
            with path.open("rb"):
                size = path.stat().st_size
        except OSError as error:
            raise InvalidInputError(f"{path} cannot be read: {error.strerror}.") from None
        if not size:
            raise InvalidInputError(f"{path} is empty.")
        # There is no upload type "gif"; the official CLI sends such files as video.
        kind = "video" if kind == "gif" else kind
        (reference,) = uploads.upload_all(
            self, [uploads.UploadSource(str(path), kind, extension, size, lambda: path.open("rb"))]
        )
        return reference

    def download(
        self,
        link: Download,
        target: downloads.Sink | BinaryIO,
        *,
        on_start: Callable[[str, int | None], object] = lambda content_type, size: None,  # noqa: ARG005 (nobody wants to know)
        refresh_link: Callable[[Download], Download] | None = None,
    ) -> downloads.Received:
        """Stream a finished file into an open binary file; :func:`.downloads.download` tells what the rest is."""
        with http.quiet():
            return downloads.download(self._storage, link, target, on_start=on_start, refresh_link=refresh_link)


def _send_with(client: httpx.Client, base_url: str, request: protocol.Request) -> httpx.Response:
    return client.request(
        request.method, base_url + request.path, json=request.json, params=dict(request.params) or None
    )
