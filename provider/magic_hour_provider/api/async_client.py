"""The triggerer's client: it polls jobs from an event loop, and does nothing else."""

from __future__ import annotations

from typing import Self

import httpx

from magic_hour_provider.api import protocol
from magic_hour_provider.api.catalog import BASE_URL
from magic_hour_provider.api.models import Job
from magic_hour_provider.api.responses import transport_error
from magic_hour_provider.api.transport import http


class AsyncMagicHourClient:
    """Polls jobs from an event loop, and does nothing else. Close it with :meth:`aclose`.

    :param api_key: the key; sent to ``base_url`` only.
    :param base_url: another address: the simulator, or Magic Hour's mock server.
    :param timeout: seconds after which a poll without its whole answer counts as lost.
    :param verify: certificates to trust; give an SSL context made off the loop, as reading the usual ones blocks it.
    :param proxy: address of a proxy; None for what the environment says.
    :param max_connections: sockets kept at the most; more polls than that wait for one another.
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
        max_connections: int = 32,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        # Imported here: a worker, which parses DAGs and submits jobs, has no use for it.
        from magic_hour_provider.api.transport.connections import Direct, Getter, Pooled, proxied

        self.base_url = protocol.check_base_url(base_url)
        url = httpx.URL(self.base_url)
        # Answers are small, and unpacking costs more than their transport.
        headers = {**http.headers(api_key), "Accept": "application/json", "Accept-Encoding": "identity"}
        common = url, headers, http.timeout(timeout)
        proxy = proxy or http.environment_proxy(url)
        self._getter: Getter
        if transport is not None:
            self._getter = Pooled(*common, lambda: transport, max_connections)
        elif proxy:
            self._getter = Pooled(*common, proxied(proxy, http.ssl_context(verify)), max_connections)
        else:
            context = http.ssl_context(verify) if url.scheme == "https" else None
            self._getter = Direct(*common, context, max_connections)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._getter.aclose()

    async def get_job(self, kind: str, job_id: str) -> Job:
        """Poll a job once; as :meth:`.client.MagicHourClient.get_job`."""
        try:
            answer = await self._getter.get(protocol.get_job_request(kind, job_id).path)
        except httpx.RequestError as error:
            raise transport_error(error, f"polling {kind} job {job_id}") from None
        return protocol.read_job(answer, kind, job_id)
