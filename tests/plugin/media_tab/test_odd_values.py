"""Whatever stands in an XCom, in an address or in a header: the page comes, and one tile is broken at the most."""

from __future__ import annotations

import json
import os

import pytest

from helpers.airflow_rows import RUN
from magic_hour_provider.plugin.media_tab import pages

VALUES = [
    None,
    True,
    10**400,
    -(10**4000),
    1e308,
    -0.0,
    "",
    "x" * 100_000,
    "half a pair \ud800 and \udc80",
    "nul \0 and \x1b[31m",
    "9" * 400,
    "9999-99-99T99:99:99Z",
    "\u202e\ufeff🦄",
    [],
    [[]],
    ["image"],
    [{"uri": 5}, None, 7],
    {},
    {"uri": "a.png"},
    {"": {"": ""}},
    json.loads("[" * 400 + "]" * 400),
]
FIELDS = [
    ("tool",),
    ("id", "kind", "submitted_at", "media"),
    ("name", "status", "request", "polls", "credits_charged", "ended_at", "library_url", "files"),
    ("error", "charge", "next_step", "faces", "file"),
]
"""In groups: what one of them hides, another one shows."""
URIS = [
    "x" * 300 + ".png",
    "x" * 5000 + ".png",
    "/".join(["x" * 200] * 40),
    "half a pair \ud800.png",
    "not utf-8 \udc80.png",
    "nul \0.png",
    "",
    ".",
    "..",
    "a-abc123-1.png/",
    "a\nb.png",
    "🦄.png",
]


def good(tab, number=0):
    """Return the XComs of a task whose tile is as it should be."""
    uri = str(tab.files / "a-abc123-1.png")
    job = {"tool": "ai-image-generator", "kind": "image", "id": f"good{number}", "request": {"image_count": 1}}
    job |= {"status": "complete", "credits_charged": 5}
    return {"magic_hour_job": job, "return_value": tab.result(uri, id=f"good{number}"), "files": [uri]}


def check(tab, task_id="mapped", map_index=1):
    """Ask for both pages and the file of a task whose XComs are odd, and for the tile beside it."""
    statuses = [tab.get(f"{tab.path(task_id, map_index)}/{what}").status_code for what in ("details", "files/0")]
    answer = tab.get(f"{tab.path(None)}/details")
    assert answer.status_code == 200
    assert max(statuses) < 500 or statuses == [200, 502], statuses
    page = json.loads(answer.content.decode())
    beside = [tile for tile in page["tiles"] if (tile["task_id"], tile["map_index"]) == ("mapped", 0)]
    assert [tile["file"]["name"] for tile in beside] == ["a-abc123-1.png"]
    assert [tile for tile in page["tiles"] if (tile["task_id"], tile["map_index"]) == (task_id, map_index)]
    assert len(answer.content) < 100_000
    return page


@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: fields[0])
@pytest.mark.parametrize("state", ["success", "failed", "deferred"])
def test_any_field_may_hold_anything(tab, fields, state):
    """Of the report, of the result, and of the XComs that are pushed key by key."""
    tab.put("mapped", "success", 0, **good(tab))
    for value in VALUES:
        odd = good(tab, 1)
        odd["magic_hour_job"] |= dict.fromkeys(fields, value)
        odd["return_value"] |= dict.fromkeys(fields, value)
        tab.put("mapped", state, 1, **odd | {field: value for field in fields if field in ("files", "media")})
        check(tab)


@pytest.mark.parametrize("key", ["magic_hour_job", "return_value", "files", "media"])
def test_any_xcom_may_be_anything(tab, key):
    """Also where it is no mapping and no list at all, or a text that holds JSON."""
    tab.put("mapped", "success", 0, **good(tab))
    for value in [*VALUES, json.dumps({"id": 10**400}), json.dumps(json.dumps([1])), "{", "NaN"]:
        tab.put("mapped", "success", 1, **good(tab, 1) | {key: value})
        check(tab)


@pytest.mark.parametrize("name", URIS, ids=lambda name: repr(name)[:20])
def test_any_name_of_a_file(tab, name):
    """Names that no file system takes, and names that are taken and odd."""
    tab.put("mapped", "success", 0, **good(tab))
    for uri in (f"{tab.files}/{name}", f"file://{tab.files}/{name}", f"s3://c@bucket/{name}", name, f"://{name}"):
        media = [{"uri": uri, "index": 0, "size": 9}]
        tab.put("mapped", "success", 1, **good(tab, 1) | {"return_value": {"media": media}, "files": [uri]})
        check(tab)


def test_a_file_whose_name_is_not_utf8(tab):
    """It is there, so it is served, with a name that a browser can save."""
    path = os.fsencode(tab.files) + b"/x\xff-abc123-1.png"
    with open(path, "wb") as file:  # noqa: PTH123 (a path of bytes)
        file.write(b"\x89PNG\r\n\x1a\n")
    uri = os.fsdecode(path)
    tab.put("make", "success", return_value=tab.result(uri))
    answer = tab.file()
    assert (answer.status_code, answer.content) == (200, b"\x89PNG\r\n\x1a\n")
    assert answer.headers["content-disposition"].endswith(".png")


def test_a_tile_that_cannot_be_built_is_one_tile(tab, monkeypatch, caplog):
    """A value that nobody thought of: its tile and its own page say so, and the log says why."""
    tab.put("mapped", "success", 0, **good(tab))
    tab.put("mapped", "success", 1, **good(tab, 1))
    job_of = pages.job_of

    def broken(task):
        if task.map_index == 1:
            raise RuntimeError("nobody thought of this")
        return job_of(task)

    monkeypatch.setattr(pages, "job_of", broken)
    tiles = {tile["map_index"]: tile for tile in check(tab)["tiles"] if tile["task_id"] == "mapped"}
    assert "cannot be shown" in tiles[1]["message"]
    assert tiles[0]["message"] is None
    assert "cannot be shown" in tab.details("mapped", 1)["error"]["message"]
    assert any("nobody thought of this" in str(record.exc_info) for record in caplog.records)


IDS = ["%00", "a%00b", "%ed%a0%80", "%ff", "x" * 300, "9" * 30, "-" + "9" * 30, "9" * 5000, "1e3", "~"]
IDS += ["%", "%2f", "%20", "0x1"]


@pytest.mark.parametrize("odd", IDS, ids=lambda odd: odd[:12])
def test_any_part_of_an_address(tab, odd):
    """DAG, run, task, map index, index of a file, and name of a static file: 4xx, and never a failure of the server."""
    tab.put("make", "success", return_value=tab.result("a-abc123-1.png"))
    names = {"dag": "campaign", "run": RUN, "task": "make", "map": "-1", "index": "0", "name": "style.css"}
    run = "/magic-hour/media/dags/{dag}/runs/{run}"
    routes = [run, f"{run}/details", f"{run}/tasks/{{task}}/{{map}}", f"{run}/tasks/{{task}}/{{map}}/details"]
    routes += [f"{run}/tasks/{{task}}/{{map}}/files/{{index}}", "/magic-hour/media/dags/{dag}/static/{name}"]
    for part in names:
        for route in routes:
            if f"{{{part}}}" in route:
                status = tab.get(route.format(**names | {part: odd})).status_code
                # HTML and scripts are the same for any run; what these ask for then is not.
                assert status in (404, 422) or (status == 200 and route in (run, routes[2], routes[5])), (
                    part,
                    route,
                    status,
                )
                if "%00" in odd:
                    assert status in (404, 422), (part, route)


QUERIES = ["%00", "%ed%a0%80", "x" * 5000, "9" * 5000, "-1", "", "[]", "1e3"]


@pytest.mark.parametrize("name", ["kind", "stage", "offset", "limit", "download"])
@pytest.mark.parametrize("odd", QUERIES, ids=lambda odd: odd[:8])
def test_any_query(tab, name, odd):
    """Filters that match nothing, numbers that are none: 200 without tiles, or 422."""
    tab.put("make", "success", return_value=tab.result("a-abc123-1.png"))
    for path in (f"{tab.path(None)}/details", f"{tab.path()}/details", f"{tab.path()}/files/0"):
        assert tab.get(f"{path}?{name}={odd}").status_code in (200, 422)


@pytest.mark.parametrize(
    "header",
    [
        {"range": f"bytes={'9' * 5000}-"},
        {"range": f"bytes=0-{'9' * 5000}"},
        {"range": f"bytes=-{'9' * 5000}"},
        {"range": "bytes=\xb2-\xb3"},
        {"range": "x" * 5000},
        {"if-none-match": '"' * 5000},
        {"if-range": "\xff", "range": "bytes=0-0"},
    ],
    ids=lambda header: str(header)[:24],
)
def test_any_header(tab, header):
    """A range with thousands of digits is none: the whole file."""
    tab.put("make", "success", return_value=tab.result("a-abc123-1.png"))
    encoded = {name: value.encode("latin-1") for name, value in header.items()}
    answer = tab.api.get(f"{tab.path()}/files/0", headers=tab.headers | encoded)
    assert (answer.status_code, len(answer.content)) == (200, (tab.files / "a-abc123-1.png").stat().st_size)
