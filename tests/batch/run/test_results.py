"""Reading the results of a batch in a task of one's own."""

from __future__ import annotations

import pytest

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.run.results import read_results


@pytest.mark.parametrize("manifest", [{}, {"results": None}, {"results": ""}, "", None])
def test_what_is_no_manifest(manifest):
    """It says what to give."""
    with pytest.raises(InvalidInputError, match=r"nothing was charged\. Give read_results\(\) the output"):
        next(read_results(manifest))


def test_results_that_are_gone(tmp_path):
    """It says how they come back, and that nothing is paid again for that."""
    with pytest.raises(InvalidInputError, match=r"cannot be read .*clearing the batch writes them again, and pays"):
        next(read_results({"results": str(tmp_path / "results.jsonl")}))
