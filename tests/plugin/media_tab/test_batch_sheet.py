"""The contact sheet of a batch: its items from their records, page by page, and the files of each."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from airflow.sdk.io import store

from helpers import items as made
from helpers.batch_sheet import SHEET
from helpers.batches import rows
from helpers.campaigns import ROWS, TASK
from helpers.s3 import CONN_ID, connection
from helpers.stalling import StallingProxy
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.plugin.media_tab import app
from magic_hour_provider.plugin.media_tab.batch_sheet import cache, listing
from magic_hour_provider.plugin.media_tab.batch_sheet.cache import ListingCache
from magic_hour_provider.plugin.media_tab.batch_sheet.items import Listing, SheetItem, find_items, select_items
from magic_hour_provider.plugin.media_tab.files import guard


def test_a_batch_that_is_complete(sheet):
    """Each item by its id, with its job, credits and picture; its file has the bytes that were stored."""
    sheet.campaign.attempt()
    page = sheet.page()
    assert (page["total"], page["matching"], page["counts"], page["problem"]) == (3, 3, {"complete": 3}, None)
    tiles, rows = sheet.tiles(), sheet.campaign.rows()
    assert tiles.keys() == {"Red shoe", "boot", "sandal"}
    for item, tile in tiles.items():
        assert (tile["status"], tile["job"]["id"], tile["credits"]) == ("complete", rows[item]["id"], 10)
        assert [one["uri"] for one in tile["files"]] == rows[item]["files"]
        assert tile["files"][0]["kind"] == "image"
        answer = sheet.file(tile)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        assert answer.content == Path(rows[item]["files"][0]).read_bytes()
    assert sheet.campaign.creates() == 3


def test_what_needs_a_person_comes_first(sheet):
    """Failures with their reason, and what is unknown with its name and tag; filters by status."""
    given = [{"sku": f"a{n}", "style": {"prompt": f"a {n}"}} for n in range(3)]
    given += [{"sku": "bad", "style": {"prompt": "b [[error:no_source_face]]"}}]
    given += [{"sku": "lost", "style": {"prompt": "c [[lost-response]]"}}]
    sheet.campaign.attempt(given)
    assert [tile["item"] for tile in sheet.page()["items"]] == ["a0", "a1", "a2", "bad", "lost"]
    page = sheet.page(problems_first=True)
    assert [tile["item"] for tile in page["items"]] == ["lost", "bad", "a0", "a1", "a2"]
    lost, bad = page["items"][:2]
    assert (lost["status"], bad["status"]) == ("unknown", "failed")
    assert lost["tag"]
    assert lost["name"].endswith(f"#{lost['tag']}")
    assert "no_source_face" in bad["message"]
    assert bad["charge"]
    assert bad["charge"] not in bad["message"]
    assert [tile["item"] for tile in sheet.page(status="failed")["items"]] == ["bad"]
    page = sheet.page(status="complete", offset=1, limit=1)
    assert ([tile["item"] for tile in page["items"]], page["matching"], page["total"]) == (["a1"], 3, 5)
    assert sheet.campaign.creates() == 5


def test_a_batch_that_runs(sheet):
    """What is under way is said to be so; a request whose worker has ended with its task is unknown."""
    sheet.campaign.attempt()
    records = ItemRecords.open(str(sheet.folder), made.owner())
    records.declare("z1", records.get("z1"), made.intent())
    declared = records.declare("z2", records.get("z2"), made.intent())
    records.complete(declared, made.job("abc123"))
    sheet.campaign.put("running")
    page = sheet.page()
    assert (page["live"], page["counts"]) == (True, {"complete": 3, "active": 2})
    sheet.campaign.put("failed")
    page = sheet.page()
    assert (page["live"], page["counts"]) == (False, {"complete": 3, "active": 1, "unknown": 1})


def test_before_anything_is_recorded(sheet):
    """Neither a task that has not reported nor a folder that is not there yet is an error."""
    assert (sheet.page()["items"], sheet.page()["problem"]) == ([], None)
    sheet.campaign.attempt()
    shutil.rmtree(sheet.folder / ".magic-hour-batch")
    assert (sheet.page()["items"], sheet.page()["problem"]) == ([], None)
    assert sheet.campaign.creates() == 3


def test_broken_records(sheet):
    """Each is one broken tile: a name that this version cannot read, and a file that is not JSON or holds nonsense."""
    sheet.campaign.attempt(rows(5))
    folder = sheet.folder / ".magic-hour-batch"
    for number, name in enumerate(one for one in sheet.campaign.names() if "!done" in one):
        record = folder / name
        if number == 0:
            record.rename(record.with_name(f"{record.name}!more"))
        else:
            step = json.loads(record.read_text())
            nonsense = [b"{", b"", {"record": None}, {"record": step["record"] | {"files": 5, "tool": 7}}]
            value = nonsense[number - 1]
            record.write_bytes(value if isinstance(value, bytes) else json.dumps(step | value).encode())
    page = sheet.page()
    assert [tile["status"] for tile in page["items"]] == ["broken"] * 5
    assert page["counts"] == {"complete": 4, "broken": 1}
    assert all("cannot be read" in tile["message"] for tile in page["items"])
    assert sheet.campaign.creates() == 5


def test_files_that_are_no_records(sheet):
    """Names that are no text, not even, are broken tiles beside the others; folders of other names are not listed."""
    sheet.campaign.attempt(rows(1))
    shard = sheet.folder / ".magic-hour-batch" / sheet.campaign.names()[0].partition("/")[0]
    for name in (b"\xff\xfe", b"shoe!1!done!x", b"%s!5" % (b"9" * 200)):
        (shard / os.fsdecode(name)).touch()
    (shard.parent / "notes").mkdir()
    (shard.parent / "notes" / "shoe-9!1!intent").touch()
    assert sheet.page()["counts"] == {"complete": 1, "broken": 3}
    assert sheet.campaign.creates() == 1


def test_a_storage_that_does_not_respond(sheet, bucket, monkeypatch):
    """A listing ends with a sentence after a while, and the page says that it is not up to date."""
    with StallingProxy(bucket.endpoint).running() as proxy:
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", connection(proxy.url))
        monkeypatch.setattr(store, "_STORE_CACHE", {})
        monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", bucket.uri)
        sheet.campaign.ti.xcoms["magic_hour_batch"] = {"output_path": f"{bucket.uri}/campaign"}
        sheet.campaign.put("running")
        assert sheet.page()["items"] == []
        proxy.is_stalled = True
        monkeypatch.setattr(guard, "READ_TIMEOUT_S", 0.5)
        monkeypatch.setattr(store, "_STORE_CACHE", {})  # new connections, which stall
        sheet.tab._storage._storage._breakers.clear()
        answer = sheet.get("/items")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "did not respond within" in answer.json()["detail"]


def test_only_below_the_roots(sheet, monkeypatch, tmp_path):
    """A folder that no administrator has named is neither listed nor read, whatever the XCom says."""
    sheet.campaign.attempt()
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", str(tmp_path / "elsewhere"))
    page = sheet.page()
    assert (page["items"], page["total"]) == ([], 0)
    assert "media_roots" in page["problem"]
    monkeypatch.delenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS")
    assert "media_roots" in sheet.page()["problem"]


def test_a_link_that_leads_out_of_the_roots(sheet, tmp_path, monkeypatch):
    """A record and a file behind it are not read."""
    sheet.campaign.attempt()
    tile = sheet.tiles()["boot"]
    root = tmp_path / "campaign"
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", str(root))
    assert sheet.file(tile).status_code == 200
    picture = Path(tile["files"][0]["uri"])
    picture.rename(tmp_path / picture.name)
    picture.symlink_to(tmp_path / picture.name)
    assert sheet.file(tile).status_code == 403
    record = next(root.rglob(tile["record"]))
    record.rename(tmp_path / record.name)
    record.symlink_to(tmp_path / record.name)
    monkeypatch.setattr(sheet.tab._sheet._contents, "_kept", {})
    assert sheet.file(tile).status_code == 404
    assert sheet.tiles()["boot"]["status"] == "broken"


@pytest.mark.parametrize(
    ("record", "index", "status"),
    [
        ("{record}", 7, 404),
        ("boot!1!done!10!other", 0, 404),
        ("..!1!done!10!other", 0, 404),
        ("nonsense", 0, 404),
        ("{intent}", 0, 404),
    ],
)
def test_what_is_no_file(sheet, record, index, status):
    """A sentence, and no byte of anything else."""
    sheet.campaign.attempt()
    tile = sheet.tiles()["boot"]
    intent = next(name for name in sheet.campaign.names() if "/boot!1!intent" in name).partition("/")[2]
    answer = sheet.get(f"/items/{record.format(record=tile['record'], intent=intent)}/files/{index}")
    assert answer.status_code == status
    assert answer.json()["detail"].endswith(".")


def test_a_file_of_no_job_of_the_item(sheet):
    """A record that names another file shows it to nobody: the job's id stands in a file's name."""
    sheet.campaign.attempt()
    tile = sheet.tiles()["boot"]
    secret = sheet.folder / "secret-abc123-1.png"
    secret.write_bytes(b"\x89PNG\r\n\x1a\nsecret")
    record = next(sheet.folder.rglob(tile["record"]))
    value = json.loads(record.read_text())
    value["record"]["files"][0]["uri"] = str(secret)
    record.write_text(json.dumps(value))
    sheet.tab._sheet._contents._kept.clear()
    answer = sheet.file(tile)
    assert (answer.status_code, b"secret" in answer.content) == (403, False)


def test_items_of_another_dag(sheet, monkeypatch):
    """Two DAGs may share a folder: who may not read the other one sees neither its items nor their files."""
    sheet.campaign.attempt()
    records = ItemRecords.open(str(sheet.folder), made.owner())
    declared = records.declare("theirs", records.get("theirs"), made.intent(), item="Theirs")
    name = "ai-image-generator-abc123-1.png"
    (sheet.folder / name).write_bytes(b"\x89PNG\r\n\x1a\ntheirs")
    records.complete(declared, made.job("abc123"))
    record = replace(made.done("abc123"), files=[{"uri": str(sheet.folder / name)}])
    records.deliver("theirs", declared.number, record)
    tile = sheet.tiles()["theirs"]
    assert sheet.file(tile).content.endswith(b"theirs")
    asked = []

    def may_read(request, user, dag_id):
        asked.append(dag_id)
        return dag_id == TASK[0]

    monkeypatch.setattr(app, "_may_read", may_read)
    hidden = sheet.page()["items"][-1]
    assert (hidden["key"], hidden["item"], hidden["files"], hidden["record"]) == (None, None, [], None)
    assert "theirs" not in json.dumps(hidden).lower()
    answer = sheet.file(tile)
    assert (answer.status_code, b"theirs" in answer.content) == (403, False)
    assert set(asked) == {made.OWNER.dag_id}
    assert sheet.campaign.creates() == 3


def test_strangers(sheet):
    """Who may not read the DAG's XComs gets nothing."""
    for path in ("/items", "/items/boot!1!done!10!x/files/0"):
        assert sheet.api.get(f"{SHEET}{path}").status_code == 401


def test_items_in_a_bucket(sheet, bucket, monkeypatch):
    """The same from S3, with the connection of the root, whichever one the XCom names."""
    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", bucket.uri)
    sheet.campaign.batches.folder = f"{bucket.uri}/campaign"
    sheet.campaign.attempt()
    report = sheet.campaign.ti.xcoms["magic_hour_batch"]
    report["output_path"] = f"s3://nobody@{bucket.name}/campaign"
    sheet.campaign.put("success")
    tiles = sheet.tiles()
    assert [tile["status"] for tile in tiles.values()] == ["complete"] * 3
    assert sheet.file(tiles["Red shoe"]).headers["content-type"] == "image/png"
    assert sheet.campaign.creates() == 3


def test_a_long_listing(sheet, bucket, monkeypatch):
    """A bucket's pages are asked for one after the other; a bound ends them, and the page says so."""
    from moto.s3.models import s3_backends

    monkeypatch.setenv("AIRFLOW__MAGIC_HOUR__MEDIA_ROOTS", bucket.uri)
    backend = s3_backends["123456789012"]["aws"]
    for number in range(350):
        for step in ("intent", f"job!id{number}!5!!!", f"done!5!id{number}"):
            name = made_name(f"item-{number}", step)
            backend.put_object(bucket.name, f"campaign/.magic-hour-batch/{name}", b"{}")
    report = {"tool": "ai-image-generator", "output_path": f"{bucket.uri}/campaign"}
    sheet.campaign.ti.xcoms["magic_hour_batch"] = report
    sheet.campaign.put("success")
    page = sheet.page(limit=5)
    assert (page["total"], page["is_cut"]) == (350, False)
    assert len(page["items"]) == 5
    monkeypatch.setattr(listing, "MAX_NAMES", 1000)
    page = sheet.page(limit=1)
    assert page["is_cut"]
    assert page["total"] < 350
    backend.buckets[bucket.name].keys.clear()


def made_name(key, step):
    """Return the name of a record."""
    from magic_hour_provider.batch.records.names import shard_of

    return f"{shard_of(key)}/{key}!1!{step}"


def test_items_are_read_again_only_where_files_changed(monkeypatch):
    """No record changes, so a later listing costs what is new in it."""
    paths = [made_name(f"item-{number}", step) for number in range(20) for step in ("intent", "job!x!5!!!")]
    before = find_items(paths)
    assert [item.key for item in before.items][:11] == [f"item-{number}" for number in range(11)]
    changed = []
    original = find_items.__globals__["_find_item"]
    monkeypatch.setitem(
        find_items.__globals__, "_find_item", lambda key, files: changed.append(key) or original(key, files)
    )
    after = find_items([*paths, made_name("item-7", "done!5!x")], before)
    assert changed == ["item-7"]
    assert [item.status for item in after.items] == ["active"] * 7 + ["complete"] + ["active"] * 12


def test_counts_do_not_depend_on_the_filter():
    """A filter and an order leave the numbers of all items as they are."""
    some = Listing([SheetItem(str(n), status) for n, status in enumerate(["complete", "intent", "failed", "broken"])])
    options = {"live": False, "offset": 0, "limit": 9}
    chosen = select_items(some, status="complete", problems_first=True, **options)
    assert (chosen.counts, chosen.matching) == ({"complete": 1, "unknown": 1, "failed": 1, "broken": 1}, 1)
    chosen = select_items(some, status=None, problems_first=True, **options)
    assert [item.status for item in chosen.items] == ["unknown", "failed", "broken", "complete"]


def test_one_listing_for_all_viewers_until_the_last_one_leaves():
    """They share it; when nobody waits any more it is abandoned, and the next viewer starts another one."""

    async def story():
        started, release, ended = [], asyncio.Event(), []

        async def slow(before):
            started.append(before)
            try:
                await release.wait()
            except asyncio.CancelledError:
                ended.append("abandoned")
                raise
            return Listing([SheetItem("a", "complete")])

        listings = ListingCache()
        viewers = [asyncio.create_task(listings.get("here", slow)) for _ in range(3)]
        await asyncio.sleep(0)
        viewers[0].cancel()
        await asyncio.gather(viewers[0], return_exceptions=True)
        assert (len(started), ended) == (1, [])
        for viewer in viewers[1:]:
            viewer.cancel()
        await asyncio.gather(*viewers, return_exceptions=True)
        await asyncio.sleep(0)
        assert ended == ["abandoned"]
        release.set()
        assert (await listings.get("here", slow)).items[0].key == "a"
        assert (await listings.get("here", slow)).items[0].key == "a"
        assert started == [None, None]

    asyncio.run(story())


def test_listings_that_are_kept_are_bounded(monkeypatch):
    """The oldest goes when there are too many items; the newest stays."""
    monkeypatch.setattr(cache, "_MAX_ITEMS", 5)

    async def story():
        listings, count = ListingCache(), []

        async def three(before):
            count.append(before)
            return Listing([SheetItem(str(n), "complete") for n in range(3)])

        for folder in ("a", "b", "b", "a"):
            await listings.get(folder, three)
        assert len(count) == 3
        assert list(listings._entries) == ["a"]

    asyncio.run(story())


@pytest.mark.parametrize("row", ROWS)
def test_an_item_is_known_by_its_id(sheet, row):
    """Its intent says it, also where the key is a digest."""
    sheet.campaign.attempt([row])
    assert sheet.tiles().keys() == {row["sku"]}
    assert sheet.campaign.creates() == 1
