"""Inputs resolved to what Magic Hour takes: outputs of earlier jobs by reference, files by upload or by link.

All of it is free and comes before the paid request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import Charge, InvalidInputError, TransferError
from magic_hour_provider.api.models import COMPLETE, GONE, Job, library_url
from magic_hour_provider.api.transport.uploads import UploadSource, retry, upload_all
from magic_hour_provider.inputs.fields import FieldPath, Input, with_values
from magic_hour_provider.inputs.saved_items import SavedItems
from magic_hour_provider.inputs.sources import StoredSource, check_sizes

log = logging.getLogger(__name__)


def resolve_inputs(
    client: MagicHourClient,
    request: Mapping[str, Any],
    inputs: Sequence[Input],
    sources: Mapping[FieldPath, StoredSource],
    *,
    tier: str | None,
    upload: Callable[[MagicHourClient, Sequence[UploadSource]], Sequence[str]] = upload_all,
    saved_items: SavedItems | None = None,
) -> dict[str, Any]:
    """Return the request with every input as Magic Hour takes it.

    :param inputs: its files.
    :param sources: those of them that are files, as ``check_inputs`` found them.
    :param tier: the account's plan, which limits how large a file may be; None: not known.
    :param upload: sends files and returns their references.
    :param saved_items: of the account, for several requests; None: they are asked for if one is given.
    :raises InvalidInputError: a file is too large, or a job given as input has no such file; nothing was uploaded.
    :raises MagicHourError: a job could not be read, or a file not be uploaded.
    """
    check_sizes(sources.values(), tier)
    references: dict[FieldPath, str] = {one.path: one.reference for one in inputs if one.reference is not None}
    jobs: dict[tuple[str, str], Job] = {}
    for one in inputs:
        if one.job is not None:
            if one.job not in jobs:
                jobs[one.job] = retry(partial(client.find_job, *one.job))
            references[one.path] = _output_reference(one, jobs[one.job])
        elif one.saved_item is not None:
            saved_items = saved_items or SavedItems(client)
            references[one.path] = saved_items.find_reference(one)
    files = list(dict.fromkeys(source for source in sources.values() if source.link is None))
    uploaded = dict(zip(files, upload(client, files), strict=True))
    references |= {path: source.link or uploaded[source] for path, source in sources.items()}
    return with_values(request, [(one, references[one.path]) for one in inputs if one.path in references])


def _output_reference(one: Input, job: Job) -> str:
    """Return the address under which Magic Hour finds a file of an earlier job; no byte passes through us."""
    _check_job(one, job)
    page = library_url(job.kind, job.id) or ""
    if one.index >= max(1, len(job.downloads)):
        raise InvalidInputError(
            f"{one.label}: Magic Hour job {job.id} has {len(job.downloads)} files, so there is none of index "
            f"{one.index} (the first is 0).",
            next_step=f"See {page}",
        )
    if job.kind not in one.field.accepts and not one.accepts(_extension(job, one.index)):
        raise InvalidInputError(
            f"{one.label} takes {one.accepted_types}; Magic Hour job {job.id} made none.", next_step=f"See {page}"
        )
    if one.result is None:
        return str(one.value)
    if len(job.downloads) < 2:
        return page
    link = job.downloads[one.index]
    if link is None:
        raise TransferError(
            f"{one.label} got the result of Magic Hour job {job.id}, to whose file {one.index + 1} Magic Hour gives no "
            "link yet.",
            charge=Charge.NONE,
            next_step=f"A retry asks again. See {page}",
        )
    if "index" not in one.value:
        log.info(
            "%s: Magic Hour job %s has %s files, and the first is used; for the third, give {**result, 'index': 2}.",
            one.label,
            job.id,
            len(job.downloads),
        )
    # A library address names a job, not one of its files: those are told apart by a link of their own.
    return link.url


def _extension(job: Job, index: int) -> str:
    link = job.downloads[index] if index < len(job.downloads) else None
    return urlsplit(link.url).path.rpartition(".")[2].lower() if link else ""


def _check_job(one: Input, job: Job) -> None:
    """Refuse a job that has no files, which Magic Hour would only notice after it has charged for the new one."""
    what, page = f"{one.label} got the result of Magic Hour job {job.id}", library_url(job.kind, job.id)
    if job.status == GONE:
        stored = isinstance(one.value, Mapping) and one.value.get("file")
        instead = f"What was stored can be uploaded: give {one.value['file']!r}." if stored else None
        raise InvalidInputError(
            f"{what}, which Magic Hour does not find: it was deleted, is another account's, or its id is mistyped.",
            next_step=instead,
        )
    if not job.ended:
        raise TransferError(
            f"{what}, which is still {job.status} and has no file yet.",
            charge=Charge.NONE,
            next_step=f"Wait for it with MagicHourJobSensor(job=...), or retry later. See {page}",
        )
    if job.status != COMPLETE:
        code = f" ({job.error_code})" if job.error_code else ""
        raise InvalidInputError(f"{what}, which ended as {job.status}{code} and has no file.", next_step=f"See {page}")
