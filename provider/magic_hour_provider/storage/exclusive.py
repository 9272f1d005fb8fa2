"""Small files that are created only where their name is free, on disk and in S3: of two writers one is refused."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from magic_hour_provider.storage.files import OBJECT_STORES, S3, already_exists_error, exists
from magic_hour_provider.storage.local import create_local_file, local_path

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath


_FIRST, _SECOND = b"magic hour 1\n", b"magic hour 2\n"  # of a probe


class NotExclusiveError(Exception):
    """The storage cannot refuse a name that is taken; nothing was written."""


def create_file(path: ObjectStoragePath, data: bytes) -> None:
    """Create a small file, where the storage itself refuses a name that is taken.

    :raises FileExistsError: the name is taken; nothing was changed.
    :raises NotExclusiveError: the storage cannot say so.
    """
    if local := local_path(path):
        create_local_file(local, data)
    elif path.protocol in S3:
        _put_object(path, data)
    elif path.protocol in OBJECT_STORES:
        _write_exclusively(path, data)
    else:
        raise NotExclusiveError(path.protocol)


def refuses_taken_names(create: Callable[[bytes], object], read: Callable[[], bytes | None]) -> bool:
    """Return whether a storage refuses a second file of one name, and leaves the first one as it was.

    Some stores that speak S3 pass over the condition in silence, so their word is not taken for it.

    :param create: creates a probe with these bytes, as :func:`create_file` does.
    :param read: returns what the probe holds. Whoever asks removes it.
    """
    for data in (_FIRST, _SECOND):
        try:
            create(data)
        except NotExclusiveError:
            return False
        except FileExistsError:
            if data == _SECOND:
                return read() == _FIRST
            # The library sent the first one twice, and met its own.
    return False


def _put_object(path: ObjectStoragePath, data: bytes) -> None:
    fs = path.fs
    bucket, key, _ = fs.split_path(path.path)
    try:
        fs.call_s3("put_object", Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
    except OSError as error:
        if error.errno == errno.ENOSYS:  # compatible stores that have no conditions
            raise NotExclusiveError(path.protocol) from error
        if isinstance(error, FileExistsError) or not exists(fs, path.path):
            raise
        raise already_exists_error(path) from error
    fs.invalidate_cache(path.path)


def _write_exclusively(path: ObjectStoragePath, data: bytes) -> None:
    fs = path.fs
    try:
        file = fs.open(path.path, "xb")
    except (NotImplementedError, ValueError) as error:  # a library that knows no exclusive writing
        raise NotExclusiveError(path.protocol) from error
    try:
        with file:
            file.write(data)
    except Exception as error:
        # Each library says in its own way that the name is taken.
        if isinstance(error, FileExistsError) or not exists(fs, path.path):
            raise
        raise already_exists_error(path) from error
