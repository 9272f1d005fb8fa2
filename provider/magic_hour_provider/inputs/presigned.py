"""Zero-copy inputs: stored files given to Magic Hour as presigned links, so that no byte passes through the worker.

A link is a secret: it goes into the paid request and nowhere else. What cannot be given as one is uploaded.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import httpx
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from magic_hour_provider import clock
from magic_hour_provider.api.errors import InvalidInputError, describe_error
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.api.transport.http import USER_AGENT, new_client, quiet, ssl_context, timeout
from magic_hour_provider.hooks.masking import mask_link_secrets
from magic_hour_provider.inputs.fields import Input, shorten
from magic_hour_provider.inputs.signing import PRESIGNED_LIFE_S, NotSignedError, sign_path
from magic_hour_provider.storage.paths import find_conn_id

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

log = logging.getLogger(__name__)

PRESIGN = "presign"
INPUT_TRANSFERS = ("upload", PRESIGN)
"""How stored files reach Magic Hour."""
CONNECTION_EXTRA = "magic_hour_input_transfer"
"""In the extra of a storage's connection: ``upload`` for one that cannot be reached from outside."""

_REUSE_S = 600.0  # several rows of a batch may have one file
_MAX_KEPT = 2048
_MAX_SAID = 20  # reasons
_MAX_MASKED = 100  # links: each makes every later line of the log slower
_TRY_TIMEOUT_S = 10.0
# Names that only a private network knows, and those of the private ways to S3, Google and Azure.
_PRIVATE_NAMES = (
    *(".localhost", ".local", ".internal", ".intranet", ".private", ".corp", ".home", ".lan", ".arpa", ".svc", ".test"),
    *(".vpce.amazonaws.com", ".p.googleapis.com", "private.googleapis.com", "restricted.googleapis.com"),
)


class PresignedInputs:
    """Makes the links of one attempt. In Airflow's own thread: storages ask Airflow for their connections.

    :param base_url: of Magic Hour. Storage on a private network counts as reachable for one that is itself on one, as
        the simulator is.
    :param wait_s: how long the job is waited for, in seconds: so long its links must open its files.
    """

    def __init__(self, base_url: str, wait_s: float) -> None:
        self._is_near = is_private_host(urlsplit(base_url).hostname or "")
        self._least_s = min(wait_s, PRESIGNED_LIFE_S - _REUSE_S) + _REUSE_S
        self._made: OrderedDict[tuple[object, ...], tuple[float, str | None]] = OrderedDict()
        self._kept_private: dict[str, bool] = {}
        self._silent: dict[str, str] = {}
        self._said: set[str] = set()
        self._masked = 0

    def find_link(self, one: Input, path: ObjectStoragePath, size: int, etag: str | None) -> str | None:
        """Return a link that opens a file; None: it has to be uploaded, which the log says once for each reason.

        :param path: of the file.
        :param size: in bytes.
        :param etag: as its storage has it.
        :raises InvalidInputError: the connection says neither ``upload`` nor ``presign``.
        """
        conn_id = find_conn_id(path)
        key, now = (path.protocol, conn_id, path.path, size, etag), clock.current().monotonic()
        made = self._made.get(key)
        if made is None or now - made[0] > _REUSE_S:
            made = now, self._make_link(one, path, conn_id, size)
            self._made[key] = made
            while len(self._made) > _MAX_KEPT:
                self._made.popitem(last=False)
        return made[1]

    def _make_link(self, one: Input, path: ObjectStoragePath, conn_id: str | None, size: int) -> str | None:
        try:
            if conn_id and self._is_kept_private(conn_id):
                raise NotSignedError(f"the extra {CONNECTION_EXTRA!r} of its connection {conn_id!r} is 'upload'")
            link = sign_path(path, self._least_s)
            if self._masked < _MAX_MASKED:
                self._masked += 1
                mask_link_secrets(link)
            self._check_address(link, one.upload_type()[1])
            self._try(link, size)
        except NotSignedError as error:
            if (reason := str(error)) not in self._said and len(self._said) < _MAX_SAID:
                self._said.add(reason)
                log.info(
                    "%s: the file %s is uploaded, although input_transfer is 'presign': %s. This is said once for all "
                    "files that it holds for.",
                    one.label,
                    shorten(one.uri),
                    reason,
                )
            return None
        return link

    def _is_kept_private(self, conn_id: str) -> bool:
        if conn_id not in self._kept_private:
            given: object = None
            with suppress(AirflowNotFoundException):  # its file system was attached without one
                given = BaseHook.get_connection(conn_id).extra_dejson.get(CONNECTION_EXTRA)
            if given not in (None, "", *INPUT_TRANSFERS):
                raise InvalidInputError(
                    f"The extra {CONNECTION_EXTRA!r} of the Airflow connection {conn_id!r} must be 'upload' or "
                    f"'presign'; it is {shorten(given)}."
                )
            self._kept_private[conn_id] = given == INPUT_TRANSFERS[0]
        return self._kept_private[conn_id]

    def _check_address(self, link: str, extension: str) -> None:
        parts = urlsplit(link)
        if not self._is_near and is_private_host(parts.hostname or ""):
            raise NotSignedError(f"Magic Hour cannot reach {parts.hostname}, which is an address of a private network")
        if not self._is_near and parts.scheme != "https":
            raise NotSignedError(f"{parts.hostname} is reached without TLS, and whoever listens would have the link")
        # By it Magic Hour knows what the file is.
        if not unquote(parts.path).lower().endswith(f".{extension}"):
            raise NotSignedError("its link does not end in the file's name")

    def _try(self, link: str, size: int) -> None:
        """Make sure that a link opens its file. What comes after the file's end is asked for: no byte of it is sent."""
        host = urlsplit(link).netloc
        if host in self._silent:
            raise NotSignedError(self._silent[host])
        asked = {"Range": f"bytes={size}-", "User-Agent": USER_AGENT}
        try:
            with (
                quiet(),
                new_client(timeout=timeout(_TRY_TIMEOUT_S), verify=ssl_context()) as http,
                http.stream("GET", link, headers=asked) as response,
            ):
                status, headers = response.status_code, response.headers
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._silent[host] = f"{host} does not answer to its link ({redact(describe_error(error), limit=300)})"
            raise NotSignedError(self._silent[host]) from None
        # Whoever does not know ranges sends the whole file; none of it is read.
        length = headers.get("content-length") if status == 200 else headers.get("content-range", "").rpartition("/")[2]
        if status not in (200, 206, 416) or length not in (None, "", "*", str(size)):
            raise NotSignedError(f"{host} answers to its link with HTTP {status}")


def is_private_host(host: str) -> bool:
    """Whether a host is of this machine or of a private network, by its name or address alone."""
    name = host.lower().rstrip(".")
    try:
        return not ip_address(name).is_global
    except ValueError:
        return "." not in name or name.endswith(_PRIVATE_NAMES) or ".privatelink." in name
