"""Secrets out of texts: bearer keys, passwords in addresses, and the part of a link that opens a file.

Texts come from strangers too (an XCom, a prompt, a wrong host's error page), and ``re`` holds the GIL while it
searches. So a text is cut before it is searched, and every pattern is linear by construction: what can repeat is
bounded, is possessive, or consumes all that it has scanned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from urllib.parse import unquote

MAX_LENGTH = 16 * 1024
"""Characters that a text is shortened to where nothing else is said."""

_OVERLAP = 8 * 1024  # characters searched past the limit: what is secret is recognized although it is cut there

_LIBRARY = re.compile(r"https://magichour\.ai/my-library\?(?:video|image|audio)Id=[\w-]++(?![\w&=])")
# A link reaches to the next blank: a signature may hold nearly any other character.
_LINK = re.compile(r"(?i)(https?:(?:\\?/){2})(?:[^\s/@?#]*@)?([^\s?#]*+)([?#]\S*+)?")
# Percent-encoded once or more often, as in a redirect's parameter or a doubly encoded log line.
_ENCODED_LINK = re.compile(r"(?i)https?%(?:25){0,4}3A\S*+")
_ENCODED_QUERY = re.compile(r"(?i)%(?:25){0,4}(?:3F|23)")
# Names of what opens a link of S3, CloudFront, Google, Azure, Alibaba, Akamai, Dropbox, Backblaze and their kind.
_OPENING_NAME = (
    r"(?=[a-z0-9_-]{2,128}+[=%])"  # before what is dearer to search
    # With any beginning: accessToken, tempauth, X-Amz-Security-Token.
    r"(?:[a-z0-9_-]{0,64}(?:token|signature|secret|password|passwd|hmac|jwt|auth|authorization|urlsig)"
    r"|(?:[a-z0-9]{1,32}[_-]){0,4}(?:sig|sign|sas|pwd|pass|bearer|api[_-]?key|auth[_-]?key|access[_-]?key|hdnts|hdnea"
    r"|rlkey|policy(?=[=%][^\s&]{40}))"
    # These name much else too: a short value, or one with folders in it, opens nothing.
    r"|[a-z0-9_-]{0,64}(?:key|hash|md5|session|ticket|code)(?=[=%][^\s&#\x22'<>\\%/]{16}))"
)
_OPENING = rf"(?:[?&;#]|%(?:25){{0,4}}(?:3F|26)|\\u00[23][6f]){_OPENING_NAME}(?:=|%(?:25){{0,4}}3D)"
_PARAMETER = r"x-(?:amz|goog|oss|ms)-[\w-]{1,64}|(?:[a-z]{1,16}_)?token|signature|sig"
_SECRETS = (
    (re.compile(r"(?i)\bbearer\s++[\w.~+/=-]++"), "Bearer ***"),
    (re.compile(r"(?i)\b(authorization\W{1,8}(?:b\W)?basic)(?:\s|%20){1,8}[\w.~+/=%-]++"), r"\1 ***"),
    # Of Azure's connection strings.
    (re.compile(r"(?i)\b((?:account|sharedaccess)_?key(?:=|%3d)[\"']?)[^\s;&\"']++"), r"\1***"),
    (re.compile(r"mhk_\w++"), "mhk_***"),
    (re.compile(r"(?i)(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{0,31}://[^\s/@:]{0,256}):[^\s/@]{1,1024}@"), r"\1:***@"),
    # Also of a link without its beginning that JSON or another link has escaped.
    (re.compile(rf"(?i)(?:(?<![\w-])|(?<=\\u00[23][6f])|(?<=%3f|%26))({_PARAMETER})(=|%3d)[^\s&]++"), r"\1\2***"),
    (re.compile(rf"(?i)({_OPENING})[^\s&]++"), r"\1***"),
    # No secret, but no text for people either.
    (re.compile(r"(?i)(data:[a-z0-9/+.-]{0,100}(?:;[a-z0-9=.-]{1,64}){0,4};base64),[a-z0-9+/=_-]++"), r"\1,…"),
)

_UNSTORABLE = re.compile("[\ud800-\udfff\x00]")


def clean_text(text: str) -> str:
    """Return a text that every database, log and file takes: half character pairs and NUL are replaced."""
    return _UNSTORABLE.sub("\ufffd", text)


def redact(text: str, *, limit: int = MAX_LENGTH) -> str:
    """Return a text without keys, passwords and the queries of its links.

    :param limit: characters that are kept; what is longer ends in ``…``.
    """
    short = text[: limit + _OVERLAP]
    short = _LINK.sub(_without_query, short)
    short = _ENCODED_LINK.sub(_without_encoded_query, short)
    for pattern, replacement in _SECRETS:
        short = pattern.sub(replacement, short)
    return short if len(short) <= limit and len(text) <= limit + _OVERLAP else f"{short[:limit]}…"


def _without_query(match: re.Match[str]) -> str:
    # A library address is public and its query is the job's id: people need it whole.
    if library := _LIBRARY.match(match.group(0)):
        return library.group(0) + match.group(0)[library.end() :]
    return f"{match.group(1)}{match.group(2)}{'?***' if match.group(3) else ''}"


def _without_encoded_query(match: re.Match[str]) -> str:
    query = _ENCODED_QUERY.search(match.group(0))
    return match.group(0) if query is None else f"{match.group(0)[: query.start()]}?***"


# Its value ends where the next parameter begins, in a link that is itself a parameter too.
_OPENING_VALUE = r"((?:[^\s&#\x22'<>\\%]|%(?!(?:25){0,4}26)){5,8192})"
_LINK_SECRETS = re.compile(
    rf"(?i){_OPENING}{_OPENING_VALUE}"
    # A user's password, or a token in the place of the user.
    r"|(?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,31}://[^\s/@:?#]{0,256}:([^\s/@?#]{5,1024})@"
    r"|(?<![a-z0-9+.-])https?://([^\s/@:?#]{16,1024})@"
)
_MAX_DEPTH = 20
_MAX_SEARCHED = 256 * 1024  # characters of one text; Airflow shows 4,096 of a rendered field


def find_link_secrets(value: object) -> list[str]:
    """Return what opens the signed links in a value: signatures, policies, tokens, passwords in addresses.

    It is text or bytes, a container of any depth, or an object that is shown as text, such as an asset. Anything
    shorter than five characters is no secret, as masking it would hide ordinary words too.
    """
    return list(dict.fromkeys(_find_link_secrets(value, 0)))


def _find_link_secrets(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, bytes | bytearray):
        value = bytes(value[:_MAX_SEARCHED]).decode(errors="replace")
    if isinstance(value, str):
        for found in _LINK_SECRETS.finditer(value, 0, _MAX_SEARCHED):
            secret = found[1] or found[2] or found[3]
            yield secret
            if (decoded := unquote(secret)) != secret:
                yield decoded  # as a client shows it
    elif isinstance(value, Mapping | list | tuple | set | frozenset):
        inner = [*value, *value.values()] if isinstance(value, Mapping) else value
        for element in inner if depth < _MAX_DEPTH else ():
            yield from _find_link_secrets(element, depth + 1)
    elif not isinstance(value, int | float | Sequence | None):
        # What Airflow shows of any other object; of its lazy lists it shows no elements.
        with suppress(Exception):
            yield from _find_link_secrets(str(value), depth)
