"""An S3 that is as strict with links as a bucket of today: signature version 4, the bucket's own region, not expired.

Its objects are zeros that it makes as it sends them, so that one of a gigabyte takes no room. It counts the bytes that
leave it, those of links apart from those that an SDK's own requests get.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

SECRET = "0123456789secretOfTheStrictBucket"
_PIECE = bytes(1024 * 1024)


class StrictS3:
    """The server; use it in a with statement.

    :param region: of its one bucket, ``media``.
    :param closed: whether links are answered with 403, as where a policy lets only its own network in.
    """

    def __init__(self, region: str = "eu-west-1", *, closed: bool = False) -> None:
        self.region, self.closed = region, closed
        self.conn_id = f"aws_{uuid.uuid4().hex[:8]}"  # Airflow keeps the file system of a connection
        self.sizes: dict[str, int] = {}
        self.links: list[str] = []
        """The signatures of the links that were opened, refused ones too."""
        self.statuses: list[int] = []
        """How links were answered."""
        self.by_sdk = self.by_link = 0
        """Bytes of files that were sent."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def put(self, key: str, size: int) -> str:
        """Store an object of so many bytes, and return its URI with the connection in it."""
        self.sizes[f"/media/{key}"] = size
        return f"s3://{self.conn_id}@media/{key}"

    def connection(self, **extra: object) -> str:
        """Return the Airflow connection to it, as an ``AIRFLOW_CONN_...`` variable takes it."""
        whole = {"endpoint_url": self.url, "region_name": self.region} | extra
        return json.dumps({"conn_type": "aws", "login": "AKIASTRICT", "password": SECRET, "extra": whole})

    def __enter__(self) -> StrictS3:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def find_refusal(server: StrictS3, host: str, target: str) -> tuple[int, str] | None:
    """Return status and code that a signed link is refused with; None: it is good."""
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query))
    if "Signature" in query:
        return 400, "InvalidRequest"  # signature version 2: buckets made after June 2020 do not take it
    scope = query.get("X-Amz-Credential", "").split("/")
    if len(scope) != 5 or scope[2] != server.region:
        return 400, "AuthorizationQueryParametersError"
    signed_at = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if signed_at + timedelta(seconds=int(query["X-Amz-Expires"])) < datetime.now(UTC) or server.closed:
        return 403, "AccessDenied"
    if query.get("X-Amz-Signature") != _signature(parts.path, parts.query, host, query["X-Amz-Date"], scope):
        return 403, "SignatureDoesNotMatch"
    return None


def _signature(path: str, query: str, host: str, at: str, scope: list[str]) -> str:
    # https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    signed = "&".join(sorted(part for part in query.split("&") if not part.startswith("X-Amz-Signature=")))
    canonical = f"GET\n{path}\n{signed}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    day = "/".join(scope[1:])
    text = f"AWS4-HMAC-SHA256\n{at}\n{day}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4" + SECRET.encode()
    for part in (*scope[1:], text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()


def _handler(server: StrictS3) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._serve(sends=False)

        def do_GET(self) -> None:
            self._serve(sends=True)

        def _serve(self, *, sends: bool) -> None:
            parts = urlsplit(self.path)
            is_link = "Signature=" in parts.query
            region = {"x-amz-bucket-region": server.region}
            if is_link:
                refusal = find_refusal(server, self.headers["Host"], self.path)
                server.links.append(parts.query.rpartition("Signature=")[2].partition("&")[0])
                if refusal is not None:
                    self._answer(*refusal, sends=sends, is_link=True)
                    return
            elif f"/{server.region}/s3/" not in self.headers.get("Authorization", ""):
                self._answer(400 if not sends else 301, "PermanentRedirect", sends=sends, headers=region)
                return
            size = server.sizes.get(unquote(parts.path))
            if size is None:
                is_bucket = parts.path.strip("/") == "media"
                self._answer(200 if is_bucket else 404, "NoSuchKey", sends=sends, headers=region, is_link=is_link)
                return
            self._send(size, sends=sends, is_link=is_link)

        def _send(self, size: int, *, sends: bool, is_link: bool) -> None:
            first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1 if last else size, size)
            if start >= size:
                self._answer(416, "InvalidRange", sends=sends, is_link=is_link)
                return
            self._begin(206 if "Range" in self.headers else 200, is_link=is_link)
            self.send_header("Content-Length", str(end - start))
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self.send_header("ETag", f'"{size:032x}"')
            self.send_header("Last-Modified", "Mon, 23 Nov 2026 00:00:00 GMT")
            self.end_headers()
            left = end - start if sends else 0
            with suppress(ConnectionError):  # whoever asked has seen enough
                while left:
                    sent = self.wfile.write(memoryview(_PIECE)[: min(left, len(_PIECE))])
                    left -= sent
                    if is_link:
                        server.by_link += sent
                    else:
                        server.by_sdk += sent

        def _begin(self, status: int, *, is_link: bool) -> None:
            if is_link:
                server.statuses.append(status)
            self.send_response(status)

        def _answer(
            self,
            status: int,
            code: str,
            *,
            sends: bool,
            headers: dict[str, str] | None = None,
            is_link: bool = False,
        ) -> None:
            body = f"<Error><Code>{code}</Code></Error>".encode() if sends and status != 200 else b""
            self._begin(status, is_link=is_link)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
