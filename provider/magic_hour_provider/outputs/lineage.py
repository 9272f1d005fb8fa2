"""OpenLineage: which files a task read and stored, and which job made them. Nothing secret is in it.

Names follow https://openlineage.io/docs/spec/naming/: a bucket is a namespace, a key a name. Media that are only at
Magic Hour are ``magic-hour://<kind>`` and the job's id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from magic_hour_provider.api.models import parse_library_url
from magic_hour_provider.outputs.assets import asset_uri

FACET = "magicHour_job"
"""The key of the run facet."""


def dataset_of(value: Any) -> tuple[str, str] | None:
    """Return the namespace and the name of a file, as it was given or stored; None: it names none.

    :param value: a path, a URI, a link, a reference of Magic Hour, or a task's result.
    """
    if isinstance(value, Mapping):
        return _dataset_of_result(value)
    if not isinstance(value, str) or not value.strip():
        return None
    if job := parse_library_url(value):
        return f"magic-hour://{job[0]}", job[1]
    scheme = urlsplit(value).scheme.lower()
    if scheme in ("http", "https"):
        parts = urlsplit(value)  # without the query, where signatures are, and without a user
        return f"{scheme}://{parts.hostname or ''}", parts.path.lstrip("/") or "/"
    if scheme in ("", "file") and not value.startswith(("/", "file:")):
        return "magic-hour://files", value.partition("?")[0]  # an upload, or what is saved in the account
    scheme, _, place = asset_uri(value).partition("://")
    if scheme == "file":
        return "file", place
    bucket, _, key = place.partition("/")
    return f"{scheme}://{bucket}", key or "/"


def _dataset_of_result(value: Mapping[str, Any]) -> tuple[str, str] | None:
    files, index = value.get("files"), value.get("index", 0)
    if isinstance(files, list | tuple) and isinstance(index, int) and 0 <= index < len(files):
        return dataset_of(files[index])
    if "id" in value and "kind" in value:
        return f"magic-hour://{value['kind']}", str(value["id"])
    for name in ("uri", "file_path"):
        if isinstance(value.get(name), str):
            return dataset_of(value[name])
    if "saved_item" in value:
        return f"magic-hour://{value.get('type')}", str(value["saved_item"])
    return None


def make_lineage(inputs: Iterable[Any], outputs: Iterable[Any], facts: Mapping[str, Any] | None = None) -> Any:
    """Return what the OpenLineage provider asks a task for, an ``OperatorLineage``: only that provider calls this.

    :param inputs: files that it was given, as :func:`dataset_of` takes them.
    :param outputs: files that it has stored, or results of which nothing is stored.
    :param facts: of the run: ``tool``, ``model``, ``job_id``, ``kind``, ``credits``, ``library_url``, ``items``.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    def datasets(values: Iterable[Any]) -> list[Dataset]:
        found = dict.fromkeys(one for one in map(dataset_of, values) if one is not None)
        return [Dataset(namespace=namespace, name=name) for namespace, name in found]

    known = {name: value for name, value in (facts or {}).items() if value is not None}
    facets = {FACET: _facet_class()(**known)} if known else {}
    return OperatorLineage(inputs=datasets(inputs), outputs=datasets(outputs), run_facets=facets)


def lineage_of_result(inputs: Iterable[Any], result: Mapping[str, Any] | None, model: Any = None) -> Any:
    """Return the lineage of a task that has one job.

    :param inputs: files that it was given.
    :param result: what it returned; None: it has failed.
    :param model: of the request, if it names one.
    """
    if result is None:
        return make_lineage(inputs, ())
    facts = {
        "tool": result.get("tool"),
        "model": model if isinstance(model, str) else None,
        "job_id": result.get("id"),
        "kind": result.get("kind"),
        "credits": result.get("credits_charged"),
        "library_url": result.get("library_url"),
    }
    return make_lineage(inputs, result.get("files") or (result,), facts)


@cache
def _facet_class() -> Any:
    import attrs
    from airflow.providers.common.compat.openlineage.facet import RunFacet

    @attrs.define(kw_only=True)
    class MagicHourJobRunFacet(RunFacet):
        """The paid job of a run, or the jobs of a batch."""

        tool: str | None = None
        model: str | None = None
        job_id: str | None = None
        kind: str | None = None
        credits: int | None = None
        library_url: str | None = None
        items: int | None = None

    return MagicHourJobRunFacet
