"""Which stored files may be shown: those under the folders of ``[magic_hour] media_roots``, and no other.

A task's XComs say where its files are, and many can write XComs. So an address in them is only looked up, below a
folder that the administrator has named, with the connection that the folder's own address names.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from airflow.providers.common.compat.sdk import conf

_LOCAL = ("", "file", "local")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)


class RefusedError(Exception):
    """A file is not shown; the message is for the person who looks.

    :param status: HTTP status of the answer.
    """

    def __init__(self, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Root:
    """A folder whose files may be shown.

    :param uri: as it was configured: what names the connection.
    :param scheme: of the address; empty for a folder of this machine.
    :param bucket: bucket or container; empty for a folder of this machine.
    :param parts: the folder's names below the bucket.
    """

    uri: str
    scheme: str
    bucket: str
    parts: tuple[str, ...]

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return not self.scheme


@dataclass(frozen=True)
class Place:
    """A file that may be shown.

    :param root: the folder it is under.
    :param path: what the file system behind the root takes: an absolute path with no link in it, or bucket and key.
    :param name: the file's own name.
    """

    root: Root
    path: str
    name: str

    @property
    def is_absent(self) -> bool:
        """Whether it surely is not there, as far as that costs no request to a storage."""
        return self.root.is_local and not Path(self.path).is_file()

    @property
    def missing(self) -> str:
        """The sentence for a person who looks for it in vain."""
        if self.root.is_local:
            return (
                "The API server cannot see this file: it was deleted, or it is on the disk of the worker that made "
                "it. An output_path in shared or object storage can be shown."
            )
        return "This file is not in the storage any more: it was moved or deleted."


def configured_roots() -> tuple[Root, ...]:
    """Return the folders of ``[magic_hour] media_roots``; by default ``output_path``, if it is no template.

    Entries that name no folder, such as ``/`` or ``s3://``, are left out: they would open everything.
    """
    text = conf.get("magic_hour", "media_roots", fallback="") or ""
    if not text.strip():
        output = conf.get("magic_hour", "output_path", fallback="") or ""
        text = "" if "{{" in output or "{%" in output else output
    found = (_parsed(entry.strip()) for entry in re.split(r"[,\n]", text) if entry.strip())
    return tuple(Root(uri, *parsed) for uri, parsed in found if parsed is not None and _names_a_folder(*parsed))


def _names_a_folder(scheme: str, bucket: str, parts: tuple[str, ...]) -> bool:
    return bool(bucket) if scheme else bool(parts)


def _parsed(uri: str) -> tuple[str, tuple[str, str, tuple[str, ...]] | None]:
    """Return an address with its scheme, bucket and names; None for one that no file can be looked up by."""
    match = _SCHEME.fullmatch(uri)
    scheme, rest = match.groups() if match else ("", uri)
    bucket = ""
    if match:
        place, slash, rest = rest.partition("/")
        bucket, rest = place.rpartition("@")[2], slash + rest
    if scheme in _LOCAL:
        # Before anything else: names are compared after links and dots are resolved, against the resolved root.
        absolute = not bucket and "\0" not in rest and rest.startswith("/")
        return uri, ("", "", Path(os.path.realpath(rest)).parts[1:]) if absolute else None
    key = rest.removeprefix("/").removesuffix("/")
    parts = tuple(key.split("/")) if key else ()
    if not bucket or any(part in ("", ".", "..") for part in parts):
        return uri, None
    return uri, (scheme, bucket, parts)


def locate(uri: str, roots: tuple[Root, ...]) -> Place:
    """Return where a file that a task names may be read.

    :param uri: the address, from an XCom: not trusted.
    :raises RefusedError: it lies under no root.
    """
    if not roots:
        raise RefusedError(
            "Files are not shown here until an administrator names their folders in [magic_hour] media_roots."
        )
    _, parsed = _parsed(uri)
    for root in roots:
        if parsed is None or parsed[:2] != (root.scheme, root.bucket):
            continue
        parts = parsed[2]
        if len(parts) > len(root.parts) and parts[: len(root.parts)] == root.parts:
            return Place(root, ("/" if root.is_local else f"{root.bucket}/") + "/".join(parts), parts[-1])
    raise RefusedError(
        "This file is not shown: it lies outside the folders that an administrator has named in "
        "[magic_hour] media_roots."
    )
