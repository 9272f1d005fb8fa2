"""Signed links: addresses that need no key and expire."""

from __future__ import annotations

import hashlib
import hmac

DOWNLOAD_LIFE_S = 24 * 3600


class LinkSigner:
    """Signs links, and checks their signatures.

    :param secret: what the signatures are made with.
    """

    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(secret.encode()).digest()

    def sign(self, method: str, path: str, expires: int) -> str:
        """Return path and query of a link.

        :param method: the HTTP method it is for.
        :param path: path of the file.
        :param expires: when it stops working, in seconds since 1970 on the simulator's clock.
        """
        return f"{path}?expires={expires}&signature={self._signature(method, path, str(expires))}"

    def find_error(self, method: str, path: str, expires: str, signature: str, now: float) -> str:
        """Return the error code of a link: ``SignatureDoesNotMatch``, ``ExpiredToken``, or nothing for a valid one.

        :param expires: the link's ``expires``, as received.
        :param signature: the link's ``signature``, as received.
        :param now: the time on the simulator's clock, in seconds since 1970.
        """
        wanted = self._signature(method, path, expires)
        if not hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "replace")):
            return "SignatureDoesNotMatch"
        return "ExpiredToken" if now >= int(expires) else ""

    def _signature(self, method: str, path: str, expires: str) -> str:
        message = f"{method}\n{path}\n{expires}".encode("utf-8", "replace")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()
