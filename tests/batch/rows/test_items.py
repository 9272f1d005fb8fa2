"""The items of a batch: read, merged, checked and identified, before anything is paid for."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from threading import Thread

import pyarrow
import pyarrow.parquet
import pytest
from airflow.sdk import Asset, ObjectStoragePath

from helpers.rows import LINK, SHARED, TOOL, bodies, keys, reading
from magic_hour_provider.api.catalog import Tool, get_tool
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.rows import checks, spool
from magic_hour_provider.execution.spec import JobSpec, prepare_request

PICTURE = {"assets": {"image_file_paths": [LINK]}}


def test_a_row_is_merged_over_the_shared_request():
    """Deeply; lists are replaced; columns with dots, and the SDK's names; the shared request stays as it is."""
    rows = [
        {},
        {"style.prompt": "A"},
        {"style": {"prompt": "B"}, "assets.image_file_paths[0]": LINK + "?b", "image_count": "2"},
        {"name": 2024.0, "image_count": 3.0},
    ]
    with reading(rows, extra_request={"new": {"x": 1}}) as items:
        assert bodies(items) == [
            SHARED | {"new": {"x": 1}},
            SHARED | {"style": {"prompt": "A"}, "new": {"x": 1}},
            {
                "style": {"prompt": "B"},
                "assets": {"image_file_paths": [LINK + "?b"]},
                "image_count": 2,
                "new": {"x": 1},
            },
            SHARED | {"name": "2024", "image_count": 3, "new": {"x": 1}},
        ]
        assert [item.number for item in items] == [1, 2, 3, 4]
        assert [item.label for item in items] == ["row 1", "row 2", "row 3", "row 4"]
        assert [item.item_id for item in items] == [None] * 4
        assert (len(items), items.rows, items.duplicates) == (4, 4, 0)
    assert SHARED["style"] == {"prompt": "On a beach"}


def test_rows_are_data():
    """No text of a row is rendered, whatever it looks like."""
    text = "{{ var.value.secret }} {% raw %} ${HOME}"
    with reading([{"style.prompt": text, "sku": text}], item_id="sku") as items:
        assert bodies(items)[0]["style"] == {"prompt": text}
        assert [item.item_id for item in items] == [text]


FORMS = {
    "csv": b"sku,style.prompt,image_count\r\n7,a cat,2\r\nB 1,a dog,\r\n",
    "jsonl": b'{"sku": 7, "style.prompt": "a cat", "image_count": 2}\n{"sku": "B 1", "style": {"prompt": "a dog"}}\n',
    "json": b'[{"sku": "7", "style.prompt": "a cat", "image_count": 2.0}, {"sku": "B 1 ", "style.prompt": "a dog"}]',
}


@pytest.fixture(params=[*FORMS, "parquet"])
def table(request, tmp_path) -> Path:
    """The same rows in each form of file."""
    path = tmp_path / f"rows.{request.param.upper()}"
    if request.param == "parquet":
        columns = {"sku": ["7", "B 1"], "style.prompt": ["a cat", "a dog"], "image_count": [2.0, None]}
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
    else:
        path.write_bytes(FORMS[request.param])
    return path


def test_the_same_rows_in_every_form(table):
    """Give the same items under the same keys, so that another form of file pays for nothing."""
    rows = [{"sku": 7, "style.prompt": "a cat", "image_count": 2}, {"sku": "B 1", "style.prompt": "a dog"}]
    with reading(str(table), item_id="sku") as items, reading(rows, item_id="sku") as others:
        assert bodies(items) == bodies(others)
        assert [item.key for item in items] == [item.key for item in others] == ["7", keys(rows, item_id="sku")[1]]
        assert [items.fingerprint(item) for item in items] == [others.fingerprint(item) for item in others]
        assert [item.item_id for item in items] == ["7", "B 1"]


@pytest.mark.parametrize("form", [str, lambda uri: ObjectStoragePath(uri), Asset, lambda uri: {"uri": uri}])
def test_files_of_rows_in_any_storage(place, form):
    """By path, URI, object storage path, asset, or the entry of an earlier result."""
    place.write("rows.jsonl", b'{"image_count": 1}\n{"image_count": 2}')
    with reading(form(f"{place.uri}/rows.jsonl")) as items:
        assert [item.label for item in items] == ["line 1", "line 2"]


def test_parquet_in_any_storage(place):
    """It is read at its end first, and then from its beginning."""
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"name": [str(number) for number in range(300)]}), file)
    place.write("rows.parquet", file.getvalue())
    with reading(f"{place.uri}/rows.parquet") as items:
        assert [body["name"] for body in bodies(items)] == [str(number) for number in range(300)]
        assert [item.label for item in items][:2] == ["row 1", "row 2"]


def test_identity_is_never_the_position():
    """Without ids: the same requests have the same keys in any order; equal ones are one item, and are counted."""
    rows = [{"name": "a"}, {"name": "b"}, {"name": "a"}, {"style": {"prompt": "On a beach"}, "name": "b"}]
    with reading(rows) as items:
        found = {item.key: items.prepare(item).body["name"] for item in items}
        assert sorted(found.values()) == ["a", "b"]
        assert (len(items), items.rows, items.duplicates) == (2, 4, 2)
        assert [item.label for item in items] == ["row 1", "row 2"]
        assert all(items.find(item.key) == item for item in items)
        assert items.find("request--v1x") is None
    assert keys(rows[::-1]) == list(found)[::-1]
    assert set(keys([{"name": "new"}, *rows])) > set(found)


def test_identity_holds_what_is_paid_for():
    """The tool, the connection, the host and every field; what a signed link is signed with is none of it."""
    signed = "https://b.s3.amazonaws.com/a.png?X-Amz-Signature={}&X-Amz-Expires=60&X-Amz-Credential=k%2F{}"
    rows = [{"assets.image_file_paths.0": signed.format(one, one)} for one in ("abc", "def")]
    assert len(keys(rows)) == 1
    with reading(rows[1:]) as items:
        assert bodies(items)[0]["assets"]["image_file_paths"] == [signed.format("def", "def")]
    variants = [
        {},
        {"conn_id": "other"},
        {"host": "https://other"},
        {"extra_request": {"name": "x"}},
        {"tool": Tool(TOOL, "image", "/v1/x", files=get_tool(TOOL).files), "extra_request": {"y": 1}},
    ]
    assert len({keys([{}], **one)[0] for one in variants}) == len(variants)


def test_fingerprints_are_those_of_the_operator(tmp_path):
    """By field, as the ledger records them of one task."""
    photo = tmp_path / "a.png"
    photo.write_bytes(b"picture")
    row = {"name": "x", "assets": {"image_file_paths": [str(photo), {"kind": "image", "id": "j1"}]}}
    with reading([row | {"sku": 1}], item_id="sku") as items:
        (item,) = items
        prepared, found = items.prepare(item), items.fingerprint(item)
    request = prepare_request(get_tool(TOOL), SHARED | row, {})
    spec = JobSpec(get_tool(TOOL), request, "magic_hour", "", True, True, None, "fail", "reuse")
    assert found == spec.fingerprint("https://api.example")
    assert prepared.body == request.body
    assert prepared.inputs == request.inputs
    assert not prepared.findings.errors


@pytest.mark.parametrize(
    ("item_id", "row", "found", "body"),
    [
        ("sku", {"sku": "A"}, "A", SHARED),
        ("name", {"name": "A"}, "A", SHARED | {"name": "A"}),
        ("name", {"name": 7}, "7", SHARED | {"name": "7"}),
        ("style.prompt", {"style.prompt": "x"}, "x", SHARED | {"style": {"prompt": "x"}}),
        ("product.sku", {"product.sku": "A"}, "A", SHARED),
        ("product.sku", {"product": {"sku": "A"}}, "A", SHARED),
    ],
)
def test_the_column_of_the_id(item_id, row, found, body):
    """Is no part of the request, unless the tool has a field of its name."""
    with reading([row], item_id=item_id) as items:
        assert [item.item_id for item in items] == [found]
        assert bodies(items) == [body]


def test_of_a_tool_that_is_not_known():
    """Its fields are not known: an id is none of them, except a name that it takes; CSV's cells stay text."""
    tool = Tool("new", "image", "/v1/new", accepts_name=True)
    for item_id, body in (("sku", {"name": "n", "count": "5"}), ("name", {"name": "n", "sku": "A", "count": "5"})):
        with reading([{"sku": "A", "name": "n", "count": "5"}], tool=tool, request={}, item_id=item_id) as items:
            assert bodies(items) == [body]


def test_all_bad_rows_are_named_before_anything_is_paid_for():
    """The first 20 with their place and field, and how many there are; nothing else is told of links but their host."""
    rows: list[object] = [{"sku": number, "nam": "x", "image_count": "many"} for number in range(30)]
    rows[3] = {"sku": "ok"}
    rows[5] = "text"
    rows[7] = {"sku": "ok"}
    rows[8] = {"sku": 1.5}
    rows[9] = {"name": "no id"}
    rows[11] = {"sku": "x", "style": {"prompt": float("nan")}, "assets.image_file_paths.0": "/x/a.txt"}
    rows[12] = {"sku": "y", "assets.image_file_paths.0": f"{LINK}?X-Amz-Signature=secret", "aspect_ratio": 5, "a..b": 1}
    with pytest.raises(InvalidInputError) as caught, reading(rows, item_id="sku"):
        raise AssertionError("read")
    lines = str(caught.value).splitlines()
    assert lines[0] == "29 of 30 rows of requests cannot work:"
    assert len(lines) == 22
    assert lines[-1] == "  and 9 more. No job was created and nothing was charged."
    assert lines[1] == (
        "  row 1: `image_count` must be a number; it is 'many'; `nam` is not a field of ai-image-editor (did you mean "
        "`name`?)"
    )
    text = caught.value.message
    assert "row 6: it is no dict of columns but str" in text
    assert "row 8: `sku` 'ok' is that of row 4 too" in text
    assert "row 9: `sku` must be text or a whole number; it is '1.5' (float)" in text
    assert "row 10: `sku` is missing, which is the row's id" in text
    assert "row 12: `style.prompt` is nan, which cannot be sent; assets.image_file_paths[0] takes image files" in text
    assert "row 13: `a..b` is no name of a field" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"image_count": None}, "`image_count` must be a number"),
        ({"style": None}, "`style` must be a dict"),
        ({"name": b"x"}, "`name` is a bytes, which cannot be sent"),
        ({"image_count": 10**400}, "`image_count` is a number of hundreds of digits"),
        ({"style.prompt": 10**400}, "`style.prompt` is a number of hundreds of digits"),
        ({"name": "a\ud800"}, "`name` holds half of a character"),
        ({1: 2}, "a column whose name is no text"),
        ({"assets.image_file_paths": [b"picture"]}, r"image_file_paths\[0\] takes a public URL"),
        ({"assets.image_file_paths": [{"kind": "video", "id": "j1"}]}, "it got the result of video job j1"),
        ({"assets.image_file_paths": ["no-extension"]}, "has no extension"),
        ({"assets.image_file_paths": [" "]}, "is empty text"),
        ({"style.prompt": {"deep": [[]]}}, "`style.prompt` must be text"),
    ],
)
def test_the_checks_of_the_operator(row, words):
    """Each row is checked as one task's request is."""
    with pytest.raises(InvalidInputError, match=f"row 1: .*{words}"), reading([row]):
        raise AssertionError("read")


def test_rows_without_end():
    """What holds itself is one bad row."""
    endless: dict[str, object] = {"name": "x"}
    endless["style"] = endless
    with pytest.raises(InvalidInputError) as caught, reading([{}, endless, {"image_count": 10**5000}]):
        raise AssertionError("read")
    assert "row 2: it is nested too deeply" in caught.value.message
    assert "row 3: The request of ai-image-editor cannot be read" in caught.value.message


def test_the_name_of_a_tool_that_is_not_known_is_text():
    """As the operator has it."""
    tool = Tool("new", "image", "/v1/new", accepts_name=True)
    with pytest.raises(InvalidInputError, match="row 1: `name` must be text; it is '5'"):
        keys([{"name": 5}], tool=tool, request={})


def test_equal_ids_are_an_error():
    """Also of rows that are the same, and of ids that only look different: nobody can tell which is meant."""
    rows = [{"sku": "A"}, {"sku": "B"}, {"sku": "A"}, {"sku": " B"}, {"sku": "é"}, {"sku": "e\u0301"}]
    with pytest.raises(InvalidInputError) as caught:
        keys(rows, item_id="sku")
    assert caught.value.message.splitlines() == [
        "3 of 6 rows of requests cannot work:",
        "  row 3: `sku` 'A' is that of row 1 too",
        "  row 4: `sku` 'B' is that of row 2 too",
        "  row 6: `sku` 'é' is that of row 5 too",
    ]


def test_warnings_are_collected():
    """What is not known to be accepted is said once, however many rows have it."""
    rows = [{"aspect_ratio": "17:3", "name": str(number)} for number in range(3)]
    with reading([{}, *rows]) as items:
        (warning,) = items.warnings
    assert (warning.rows, warning.label) == (3, "row 2")
    assert warning.text.startswith("`aspect_ratio` is '17:3', which this version does not know")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "it got NoneType"),
        (7, "it got int"),
        (b"[]", "it got bytes"),
        ({"a": 1}, "it got dict"),
        ({"id": "j", "kind": "image", "file": "a"}, "it got dict"),
        ('[{"a": 1}]', "which is what a template makes"),
        ("a\nb.csv", "which is what a template makes"),
        ("/x/rows", "it got '/x/rows'"),
        ("/x/rows.xlsx", "it got '/x/rows.xlsx'"),
        ("s3://nobody@bucket/rows.csv", "there is no Airflow connection 'nobody'"),
        ("/x/rows.csv", "cannot be read .FileNotFoundError"),
    ],
)
def test_what_gives_no_rows(given, words):
    """Is refused in one sentence."""
    with pytest.raises(InvalidInputError, match=words):
        keys(given)


def test_a_folder_of_rows(tmp_path):
    """A folder is no file, whatever it is called."""
    (tmp_path / "rows.csv").mkdir()
    with pytest.raises(InvalidInputError, match="it is a folder"):
        keys(str(tmp_path / "rows.csv"))


@pytest.mark.parametrize("option", ["request", "extra_request"])
def test_a_shared_request_that_is_none(option):
    """What all rows have in common is a dict."""
    with pytest.raises(InvalidInputError, match=f"{option} of {TOOL} must be a dict; it is list"):
        keys([{}], **{option: [1]})


def test_no_rows():
    """An empty list is no error: nothing is to be made."""
    with reading([]) as items:
        assert (len(items), items.rows, list(items)) == (0, 0, [])


def test_rows_that_come_one_by_one():
    """Anything that yields mappings is read once, and never held as a whole."""
    with reading({"name": str(number)} for number in range(5)) as items:
        assert [body["name"] for body in bodies(items)] == ["0", "1", "2", "3", "4"]


def count_open_files() -> int:
    """Return how many files this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    """The temporary file has no name while it is used, and is gone after, also when rows are bad."""
    monkeypatch.setattr(spool.tempfile, "tempdir", str(tmp_path))
    before = count_open_files()
    with reading([{}]) as items:
        assert list(tmp_path.iterdir()) == []
        item = next(iter(items))
    with pytest.raises(ValueError, match="closed file"):
        items.prepare(item)
    with pytest.raises(InvalidInputError):
        keys([{"nam": 1}])
    assert count_open_files() == before


def test_requests_are_read_in_any_thread():
    """Several at a time, each its own."""
    with reading([{"name": str(number)} for number in range(200)]) as items:
        found: dict[int, list[str]] = {}

        def read(thread: int) -> None:
            found[thread] = [body["name"] for body in bodies(items)]

        threads = [Thread(target=read, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert list(found.values()) == [[str(number) for number in range(200)]] * 4


def test_requests_are_not_held_in_memory(tmp_path):
    """Of 20 MB of requests less than 2 MB are in memory, while they are read and after."""
    path = tmp_path / "rows.jsonl"
    with path.open("w") as file:
        for number in range(400):
            file.write(json.dumps({"sku": number, "style": {"prompt": f"{number}" + "x" * 50_000}}) + "\n")
    keys([{"sku": 1}], item_id="sku")
    tracemalloc.start()
    try:
        with reading(str(path), item_id="sku") as items:
            assert len(items) == 400
            assert items.warnings[0].rows == 400
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


# -- a worker that resumes --------------------------------------------------------------------------------------------

RESUMED = [
    {"sku": "a", "style.prompt": "A"},
    {"sku": 7, "style": {"prompt": "B"}, "assets.image_file_paths[0]": LINK + "?b", "image_count": "2"},
    {"sku": "C c", "name": 2024.0, "image_count": 3.0},
    {"sku": "d", "assets": {"image_file_paths": [ObjectStoragePath(LINK)]}},
]


def test_a_worker_that_resumes_checks_the_rows_that_it_needs(monkeypatch):
    """Each request, its key and its fingerprint are those of the first worker; nothing else is checked again."""
    with reading(RESUMED, item_id="sku") as items:
        expected = [(item, items.prepare(item), items.fingerprint(item)) for item in items]
    checked = []
    real = checks.prepare_request
    monkeypatch.setattr(checks, "prepare_request", lambda *row: checked.append(row) or real(*row))
    with reading(RESUMED, item_id="sku", is_first=False) as items:
        assert len(checked) == 1  # a path is no JSON, which a row on disk is
        assert [(item, items.prepare(item), items.fingerprint(item)) for item in items] == expected
        assert items.find("a") == expected[0][0]
        items.check_account("free", None)
    with reading([{"style": {"prompt": "a"}}, {"style": {"prompt": "a"}}], is_first=False) as items:
        assert (len(items), items.duplicates) == (1, 1)  # the request is the identity


def test_a_row_that_became_a_bad_one_while_the_batch_ran():
    """Its request is not sent, and the error names it; the others are not touched. An id must still be one."""
    with reading([{"sku": "a", "image_count": "many"}, {"sku": "b"}], item_id="sku", is_first=False) as items:
        bad, good = items
        for ask in (items.prepare, items.fingerprint):
            with pytest.raises(InvalidInputError, match=r"row 1 of .* was changed while its batch ran.*image_count"):
                ask(bad)
        assert items.prepare(good).body == SHARED
    for rows in ([{"sku": "a"}, {"sku": "a"}], [{"sku": None}], ["no dict"]):
        with pytest.raises(InvalidInputError, match=r"row \d"), reading(rows, item_id="sku", is_first=False):
            pass
