"""Clients of the Magic Hour API: one for workers, which does everything, and one for event loops, which only polls.

Both carry out what :mod:`magic_hour_provider.api.protocol` decides; neither repeats the other's logic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Generic, Self, TypeVar

import httpx

from magic_hour_provider.api import protocol
from magic_hour_provider.api.catalog import BASE_URL, EXTENSIONS, Tool
from magic_hour_provider.api.errors import InvalidInputError, NotFoundError
from magic_hour_provider.api.models import Account, Download, Job, Submission, UploadLink
from magic_hour_provider.api.responses import Response, transport_error
from magic_hour_provider.api.transport import downloads, http, streaming, uploads

_Transport = TypeVar("_Transport")


class _Client(Generic[_Transport]):
    """Construction and options of both clients."""

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str = BASE_URL,
        timeout: float = http.DEFAULT_TIMEOUT_S,
        verify: http.Verify = True,
        proxy: str | None = None,
        transport: _Transport | None = None,
    ) -> None:
        self._options = http.TransportOptions(
            protocol.check_api_key(api_key), protocol.check_base_url(base_url), timeout, verify, proxy
        )
        self._open(transport)

    @classmethod
    def from_options(cls, options: http.TransportOptions) -> Self:
        """Make a client of what is known already."""
        return cls(
            api_key=options.api_key,
            base_url=options.base_url,
            timeout=options.timeout,
            verify=options.verify,
            proxy=options.proxy,
        )

    @property
    def base_url(self) -> str:
        """The address, without a trailing slash."""
        return self._options.base_url

    def _open(self, transport: _Transport | None) -> None:
        raise NotImplementedError


class MagicHourClient(_Client[httpx.BaseTransport]):
    """Client of a worker: everything that Magic Hour can do. Use it as a context manager, or close it.

    :param api_key: the key; sent to ``base_url`` only, never to storage.
    :param base_url: another address: the simulator, or Magic Hour's mock server.
    :param timeout: seconds without progress (event loop: without the whole response) after which a request is lost.
    :param verify: certificates to trust: True, False, a path, or an SSL context to share.
    :param proxy: address of a proxy; None for what the environment says.
    :param transport: replaces the network, for tests.
    :raises InvalidInputError: the key or the address cannot be right.
    """

    def _open(self, transport: httpx.BaseTransport | None) -> None:
        self._common: dict[str, Any] = {
            "timeout": http.timeout(self._options.timeout),
            "proxy": self._options.proxy,
            "transport": transport,
        }
        self._api = self._new_connection()

    def _new_connection(self) -> httpx.Client:
        verify, headers = http.api_context(self._options), http.headers(self._options.api_key)
        return http.new_client(headers=headers, follow_redirects=False, verify=verify, **self._common)

    @cached_property
    def _storage(self) -> httpx.Client:
        # A client of its own: a signed link carries its own permission and must never meet our key.
        verify, headers = http.ssl_context(self._options.verify), {"User-Agent": http.USER_AGENT}
        return http.new_client(headers=headers, follow_redirects=True, verify=verify, **self._common)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        with http.quiet():
            self._api.close()
            if "_storage" in self.__dict__:
                self._storage.close()

    def _send(self, request: protocol.Request, doing: str) -> Response:
        try:
            with http.quiet():
                return Response.of(_send_with(self._api, self.base_url, request))
        except httpx.RequestError as error:
            raise transport_error(error, doing) from None

    def create(self, tool: str | Tool, request: Mapping[str, Any]) -> Submission:
        """Send one paid request, exactly once.

        A connection of its own is used: one kept open from before may have been closed by the other side, and then
        it would be unknown whether the request was read.

        :param tool: the tool or its slug.
        :param request: its JSON body, as in Magic Hour's documentation.
        :returns: the accepted submission.
        :raises MagicHourError: see :func:`magic_hour_provider.api.protocol.read_create`, which decides.
        """
        built = protocol.create_request(tool, request)
        outcome: Response | httpx.RequestError
        with http.quiet(), self._new_connection() as fresh:
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
        """Delete a job's output for good. This does not cancel it, and refunds nothing."""
        request = protocol.delete_job_request(kind, job_id)
        protocol.read_deleted(self._send(request, f"deleting {kind} job {job_id}"), kind, job_id)

    def get_account(self) -> Account:
        """Return the account behind the key; free, so it also tests the key."""
        return protocol.read_account(self._send(protocol.account_request(), "asking for the account"))

    def list_saved_items(self, *, type: str | None = None) -> list[dict[str, Any]]:  # noqa: A002 (the API's own word)
        """Return all saved characters, voices and so on, of one type or of all."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        seen: set[str | None] = set()
        while cursor not in seen:
            seen.add(cursor)
            request = protocol.saved_items_request(type=type, limit=100, cursor=cursor)
            page, cursor = protocol.read_saved_items(self._send(request, "asking for the saved items"))
            items += page
        return items

    def create_upload_urls(self, items: Sequence[tuple[str, str]]) -> list[UploadLink]:
        """Return an upload link for each (type, extension), such as ``("image", "png")``."""
        request = protocol.upload_links_request(items)
        return protocol.read_upload_links(self._send(request, "asking for upload links"), len(items))

    def upload_to(self, link: UploadLink, source: streaming.Readable, size: int, name: str = "An input file") -> None:
        """Stream an open file of ``size`` bytes to an upload link, once.

        :param name: what people call the file.
        """
        with http.quiet():
            streaming.upload(self._storage, link, source, size, name)

    def upload(self, source: str | Path) -> str:
        """Upload a local file, with up to three retries.

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
        """Download a finished file into an open binary file; see :func:`.downloads.download` for the arguments."""
        with http.quiet():
            return downloads.download(self._storage, link, target, on_start=on_start, refresh_link=refresh_link)


def _send_with(client: httpx.Client, base_url: str, request: protocol.Request) -> httpx.Response:
    return client.request(
        request.method, base_url + request.path, json=request.json, params=dict(request.params) or None
    )


class AsyncMagicHourClient(_Client[http.AsyncTransport]):
    """Client of an event loop: it only polls. Make it in a running loop, and close it with :meth:`aclose`.

    It has at most :data:`.http.MAX_CONNECTIONS` connections; more polls wait for one another. Its arguments are those
    of :class:`MagicHourClient`, but for ``transport``, which is an :class:`.http.AsyncTransport`.
    """

    @classmethod
    async def open(cls, options: http.TransportOptions) -> Self:
        """Make a client without blocking the event loop: aiohttp and certificates are loaded in a thread."""
        await asyncio.to_thread(_load, options)
        return cls.from_options(options)

    def _open(self, transport: http.AsyncTransport | None) -> None:
        if transport is None:
            # Imported here: workers parse DAGs and submit jobs without it.
            from magic_hour_provider.api.transport.connections import SharedSession

            transport = SharedSession(self._options)
        self._transport = transport

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def get_job(self, kind: str, job_id: str) -> Job:
        """Poll a job once; as :meth:`MagicHourClient.get_job`."""
        response = await self._transport.get(protocol.job_path(kind, job_id), f"polling {kind} job {job_id}")
        return protocol.read_job(response, kind, job_id)


def _load(options: http.TransportOptions) -> None:
    import magic_hour_provider.api.transport.connections  # noqa: F401 (importing it is the purpose)

    http.session_context(options)
