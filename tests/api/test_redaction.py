"""No secret in a text that people read, and no text that takes long to search."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
import signal
import time
from functools import partial
from importlib.util import find_spec

import pytest

import magic_hour_provider
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.redaction import find_link_secrets, redact

MIB = 1 << 20
# Pieces of what the patterns look for: repeated and mixed, they make a search start often and end late.
PIECES = [
    *(
        "a.",
        "http%3A%2F%2F",
        "https%253A",
        "x-amz-",
        "x-amz-a=",
        "://",
        "a://",
        "a:",
        "http://",
        "http://a@",
        "http:\\/\\/",
    ),
    *(
        "authorization: basic ",
        "authorization",
        "accountkey=",
        "bearer ",
        "bearer\t",
        "mhk_",
        "?",
        "?sig=",
        "&token=",
        "&a_key",
        "%3F",
        "%25",
        "data:",
        "data:a;b;",
        ";base64,",
        "a:b@",
    ),
    *(
        "a://b:",
        "https://magichour.ai/my-library?videoId=",
        " ",
        "\n",
        "é",
        "/@",
        "a",
        "sig",
        "=",
        "'",
        "{{",
        "{%",
        "-",
    ),
]


@pytest.mark.parametrize(
    "text",
    [
        "HTTPS://s3.x/a.png?X-Amz-Signature=SECRET",
        "https://s3.x/it's.png?sig=SECRET",
        'https://s3.x/a.png?q="SECRET"',
        "https:\\/\\/s3.x\\/a.png?sig=SECRET",
        "https%3A%2F%2Fs3.x%2Fa.png%3Fsig%3DSECRET",
        "https://user:SECRET@host/a.png",
        "a link without scheme: s3.x/a.png?x=1&X-Amz-Signature=SECRET",
        "Authorization: Bearer SECRET",
        "{'authorization': 'Basic SECRET=='}",
        "Authorization:  Basic  SECRET==",
        "(b'Authorization', b'Basic SECRET==')",
        r"{\"Authorization\": \"Basic SECRET==\"}",
        "authorization: Basic%20SECRET%3D",
        "AccountKey%3DSECRET",
        "AccountKey='SECRET'",
        "account_key=SECRET",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=SECRET+/==;EndpointSuffix=core.windows.net",
        "Endpoint=sb://a;SharedAccessKey=SECRET=",
        "https://magichour.ai/my-library?videoId=abc&token=SECRET",
        "\x000\x00 mhk_live_SECRET",
        "api_mhk_live_SECRET",
        "https%253A%252F%252Fs3.x%252Fa.png%253Fsig%253DSECRET",
        "s3.x/a.png?x=1&X-Amz-Security-Token=SECRET",
        "s3.x/a.png?token=SECRET",
        r"https://s3.x/a.png\u003fX-Amz-Date=1\u0026X-Amz-Signature=SECRET",
        r"s3.x/a.png?se=1\u0026sig=SECRET",
        "s3.x%2Fa.png%3FX-Goog-Signature%3DSECRET",
        "postgresql://airflow:SECRET@db/airflow",
        "filler " * 4000 + "Bearer SECRET",
    ],
)
def test_no_secret_gets_through(text):
    """Links of every spelling lose what opens them; nothing in a text makes the redaction itself fail."""
    assert "SECRET" not in redact(text)


def test_redaction_keeps_library_addresses():
    """A library address is public and people need it whole; other queries may be signatures."""
    text = "see https://magichour.ai/my-library?videoId=abc and https://s3.x/y.mp4?sig=1 with Bearer mhk_live_1"
    assert redact(text) == "see https://magichour.ai/my-library?videoId=abc and https://s3.x/y.mp4?*** with Bearer ***"


def test_link_secrets_are_found_in_any_shape():
    """Links of every storage, in text and in JSON; anything else has none."""
    amazon, azure = "https://b.example/k.png?X-Amz-Date=1&X-Amz-Signature=abc%2F1&x=2", "https://a.example/?sig=de%3D"
    assert find_link_secrets({"a": [amazon, {"b": (azure,)}], "c": 5, "d": None}) == [
        "abc%2F1",
        "abc/1",
        "de%3D",
        "de=",
    ]
    assert find_link_secrets("a design=bold, sig=none of it") == []
    others = "https://a.example/?token=opened ftp://me:hushhush@b.example/x?X-Amz-Security-Token=session"
    assert find_link_secrets(others) == ["opened", "hushhush", "session"]
    nested: list = []
    nested.append(nested)
    assert find_link_secrets(nested) == []


@pytest.mark.parametrize(
    "name",
    [
        *("X-Amz-Signature", "Authorization", "tempauth", "authkey", "sas", "accessToken", "idToken", "SecurityToken"),
        *("auth_key", "X-Auth-Key", "sign", "wsSecret", "access_key", "pwd", "urlsig", "key", "subscription-key"),
        *("md5", "hash", "code", "ticket", "session", "storageKey"),
    ],
)
def test_any_service_may_have_signed_a_link(name):
    """What opens a link of Backblaze, OneDrive, Alibaba or a server of one's own is found by its name."""
    secret = "SECRET0123456789abcdef"
    for link in (f"a.example/x.png?{name}={secret}", rf"a.example/x.png?n=1\u0026{name}={secret}&e=2"):
        assert find_link_secrets(f"https://{link}") == find_link_secrets(link) == [secret]
        assert secret not in redact(f"Max retries exceeded with url: {link}")  # without its beginning


@pytest.mark.parametrize(
    "query",
    ["design=minimalistic", "key=folder/of/pictures/cat.png", "code=DE", "texas=a-long-way-away", "monkey=business"],
)
def test_what_opens_no_link_is_shown(query):
    """A parameter that only ends like one that opens a link, a path and a short word stay readable."""
    assert find_link_secrets(f"https://a.example/x.png?{query}&v=1") == []
    assert redact(f"a.example/x.png?{query}&v=1").endswith(f"{query}&v=1")


def test_a_text_is_cut():
    """A file given as text is no wall of letters, and what is cut off says so."""
    assert redact("x" * MIB, limit=10) == "x" * 10 + "…"
    assert len(redact("x" * MIB)) < 20_000
    assert redact(f"'data:image/png;base64,{'A' * 9000}' is no file") == "'data:image/png;base64,…' is no file"
    assert len(str(InvalidInputError("x" * MIB))) < 20_000


def cpu_seconds(search, text, limit: float = 2.0) -> float:
    """Return the CPU time of one search; an alarm ends one that takes longer than ``limit`` seconds of it."""

    def ring(*_: object) -> None:
        raise AssertionError(f"{search} takes over {limit} s of CPU for {text[:40]!r}…")

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, limit)
    try:
        start = time.process_time()
        search(text)
        return time.process_time() - start
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def hostile(length: int, step: int) -> list[str]:
    """Return texts of a length: each piece repeated, and every so many-th pair of pieces."""
    pieces = [*PIECES, *["".join(pair) for pair in itertools.product(PIECES, PIECES)][::step]]
    return [(piece * (length // len(piece) + 1))[:length] for piece in pieces]


@pytest.mark.parametrize("search", [redact, find_link_secrets], ids=["redact", "find_link_secrets"])
def test_no_text_takes_long(search):
    """1 MiB of anything takes under 0.2 s of CPU: one text must not stop an API server that serves a whole company."""
    for text in hostile(MIB, 11):
        # A machine may be busy once; what is slow is slow each time.
        assert cpu_seconds(search, text) < 0.2 or min(cpu_seconds(search, text) for _ in range(3)) < 0.2


def test_every_pattern_of_the_package_is_linear():
    """No pattern that is compiled anywhere in the package takes a hundred times as long as a linear one."""
    patterns, has_agents = {}, find_spec("airflow.providers.common.ai") is not None
    for module in pkgutil.walk_packages(magic_hour_provider.__path__, "magic_hour_provider."):
        if module.name.endswith("__main__") or (".agents." in module.name and not has_agents):
            continue
        names = vars(importlib.import_module(module.name))
        patterns |= {(module.name, name): value for name, value in names.items() if isinstance(value, re.Pattern)}
    assert len(patterns) > 10
    for text in hostile(MIB // 32, 29):
        for pattern in patterns.values():
            empty = pattern.pattern[:0]
            cpu_seconds(partial(pattern.sub, empty), text if isinstance(empty, str) else text.encode(), limit=0.5)
