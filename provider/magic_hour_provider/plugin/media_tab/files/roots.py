"""Media roots: the folders of ``[magic_hour] media_roots``, whose files may be shown, and no other.

A task's XComs say where its files are, and many people can write XComs. So a URI from an XCom is only resolved below a
folder that the administrator has configured, with the connection in the folder's own URI.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from airflow.providers.common.compat.sdk import conf

_LOCAL = ("", "file", "local")
_URI = re.compile(r"\A([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)

NO_ROOTS = "Files are not shown here until an administrator names their folders in [magic_hour] media_roots."


class FileNotShownError(Exception):
    """A file cannot be shown; the message is for the viewer.

    :param status: HTTP status of the response.
    """

    def __init__(self, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class MediaRoot:
    """A folder whose files may be shown.

    :param uri: as it was configured, with its connection.
    :param scheme: of the URI; empty for a folder of this machine.
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
class FileLocation:
    """Where a file that may be shown is stored.

    :param root: the root it is under.
    :param path: as the root's file system takes it: an absolute path without symbolic links, or bucket and key.
    :param name: the file name.
    """

    root: MediaRoot
    path: str
    name: str

    @property
    def uri(self) -> str:
        """Its address, with the connection of its root and of nobody else."""
        if self.root.is_local:
            return self.path
        conn_id = _conn_id(self.root.uri)
        return f"{self.root.scheme}://{conn_id}{'@' if conn_id else ''}{self.path}"

    @property
    def missing_message(self) -> str:
        """The message for a viewer when the file is missing."""
        if self.root.is_local:
            return (
                "The API server cannot see this file: it was deleted, or it is on the disk of the worker that made "
                "it. An output_path in shared or object storage can be shown."
            )
        return "This file is not in the storage any more: it was moved or deleted."


def get_media_folders() -> list[str]:
    """Return the entries of ``[magic_hour] media_roots``; by default ``output_path``, if it is no template."""
    text = conf.get("magic_hour", "media_roots", fallback="") or ""
    if not text.strip():
        output = conf.get("magic_hour", "output_path", fallback="") or ""
        text = "" if "{{" in output or "{%" in output else output
    return [entry.strip() for entry in re.split(r"[,\n]", text) if entry.strip()]


def parse_roots(folders: Iterable[str]) -> tuple[MediaRoot, ...]:
    """Return the roots of some entries. Local folders are resolved on the disk, which may block.

    Entries without a folder, such as ``/`` or ``s3://``, are left out: they would expose everything.
    """
    parsed = ((folder, _parse_uri(folder)) for folder in folders)
    return tuple(MediaRoot(folder, *parts) for folder, parts in parsed if parts is not None and _has_folder(*parts))


def is_local_uri(uri: str) -> bool:
    """Return whether a URI names a file of this machine."""
    match = _URI.fullmatch(uri)
    return (match.group(1) if match else "") in _LOCAL


def _has_folder(scheme: str, bucket: str, parts: tuple[str, ...]) -> bool:
    return bool(bucket) if scheme else bool(parts)


def _conn_id(uri: str) -> str:
    return uri.partition("://")[2].partition("/")[0].rpartition("@")[0]


def _parse_uri(uri: str) -> tuple[str, str, tuple[str, ...]] | None:
    """Return a URI's scheme, bucket and path parts; None for one that cannot name a file."""
    match = _URI.fullmatch(uri)
    scheme, rest = match.groups() if match else ("", uri)
    bucket = ""
    if match:
        authority, slash, rest = rest.partition("/")
        bucket, rest = authority.rpartition("@")[2], slash + rest
    if scheme in _LOCAL:
        if bucket or not rest.startswith("/"):
            return None
        try:
            # First of all: paths are compared after links and dots are resolved, on both sides.
            return "", "", Path(os.path.realpath(rest)).parts[1:]
        except ValueError:  # a character that no path can have
            return None
    key = rest.removeprefix("/").removesuffix("/")
    parts = tuple(key.split("/")) if key else ()
    if not bucket or any(part in ("", ".", "..") for part in parts):
        return None
    return scheme, bucket, parts


def locate_file(uri: str, roots: tuple[MediaRoot, ...]) -> FileLocation:
    """Return where a file that a task has reported is stored. A local one is resolved on the disk, which may block.

    Of roots that name one folder with several connections, as of several accounts, the one with the URI's own is
    taken, or the one without any where it has none; else the first.

    :param uri: from an XCom, so not trusted: it chooses among the roots, and is never connected with.
    :raises FileNotShownError: it is under no root.
    """
    parsed, conn_id = _parse_uri(uri), _conn_id(uri)
    for root in sorted(roots, key=lambda root: _conn_id(root.uri) != conn_id):
        if parsed is None or parsed[:2] != (root.scheme, root.bucket):
            continue
        parts = parsed[2]
        if len(parts) > len(root.parts) and parts[: len(root.parts)] == root.parts:
            return FileLocation(root, ("/" if root.is_local else f"{root.bucket}/") + "/".join(parts), parts[-1])
    raise FileNotShownError(
        "This file is not shown: it lies outside the folders that an administrator has named in "
        "[magic_hour] media_roots."
    )
