"""The examples of the guides do what the text beside them says."""

from __future__ import annotations

import re

from helpers.pages import DOCS, Page, pages
from magic_hour_provider.batch.rows.items import read_items
from magic_hour_provider.operators.batch import MagicHourBatchOperator

GUIDES = DOCS / "guides"
EXAMPLES = DOCS.parent / "dags_examples"


def test_the_campaign_is_one(tmp_path):
    """The batch of the guide loads, and the rows beside it are two items that the tool takes."""
    page = Page(GUIDES / "batch.md")
    names: dict = {}
    exec(compile(next(page.blocks("python")).code, page.name, "exec"), names)
    made = names["dag"].get_task("campaign")
    assert isinstance(made, MagicHourBatchOperator)
    file = tmp_path / "campaign.csv"
    file.write_text(next(page.blocks("csv")).code)
    shared = {"request": made.request, "item_id": made.item_id}
    with read_items(made.tool, str(file), **shared, conn_id="", host="", is_first=False) as items:
        bodies = {item.item_id: items.prepare(item).body for item in items}
    photos = ["s3://aws_default@media/shoe-1.jpg", "s3://aws_default@media/shoe-2.jpg"]
    assert [body["assets"]["image_file_paths"] for body in bodies.values()] == [[photo] for photo in photos]
    assert [body["style"]["prompt"] for body in bodies.values()] == ["On a beach at sunset", "In the snow"]


def test_the_example_test_is_a_test_of_ours():
    """The test that the guide shows is, to the letter, the one that our own suite runs."""
    (shown,) = re.findall(
        r"^```\{literalinclude\} (\S+test_product_teaser\.py)$", Page(GUIDES / "testing.md").text, re.M
    )
    assert (GUIDES / shown).resolve() == DOCS.parent / "tests" / "examples" / "test_product_teaser.py"


def test_what_is_included_exists():
    """Each file that a page includes is there."""
    for page in pages():
        for _, shown in re.findall(r"^```\{(literalinclude|include)\} (\S+)$", page.text, re.M):
            assert (page.path.parent / shown).is_file(), f"{page.name}: {shown}"
