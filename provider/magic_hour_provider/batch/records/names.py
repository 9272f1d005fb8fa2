"""Names of the files that hold an item's steps: they tell what a listing must know, so that no file has to be read.

::

    <output_path>/.magic-hour-batch/<two digits>/<key>!<number>!<step>[!<field>...]

The two digits are of the key's digest. ``number`` counts an item's intents: 1 is the first. The steps and their fields:

====================================================== ===============================================================
``claim!<nonce>``, ``void``                            who may declare, in storage that cannot create exclusively
``intent``, ``intent!<nonce>``                         a request is about to be sent; the second form as above
``withdrawn``, ``withdrawn!<nonce>``                   surely no job was made: the number counts for nothing
``unknown``                                            it is unknown whether a job was made
``job!<id>!<credits>!<owner>!<time>!<fingerprint>``    a job was made: its id, credits at submission, digest of the task
                                                       instance that paid, seconds since 1970, digest of the request
``failed!<retry|final>!<refunded|kept>!<credits>!<id>`` it failed; credits are what stays charged
``done!<credits>!<id>``                                its files are stored; credits as settled
``adopt!<replaced>!<id>``, ``regenerate!<replaced>``   a person's instruction, and the id of the job that it replaces
``x-...``                                              a note of a later version, of no meaning for the money: ignored
====================================================== ===============================================================

An empty field is not known. An id that is too long for a name is in the file alone; ``_`` stands for it. Any other name
stops the reader: it may be a payment that a later version knows how to write. Names that begin with a dot are staging
files, probes, and what operating systems leave behind.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.models import is_id
from magic_hour_provider.storage.local import find_final_name

MAX_KEY: Final = 100
"""Characters of an item's key at the most: the longest name must fit into 255 bytes with that of its staging file."""
IN_THE_FILE: Final = "_"
"""Stands for an id that is too long for a name."""

_SEPARATOR = "!"  # no key, id or digest has it; safe in object stores, on disks and in URIs
_MAX_ID_IN_NAME = 64
_KEY = re.compile(rf"[a-z0-9_-][a-z0-9._~%=@+-]{{0,{MAX_KEY - 1}}}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_DIGEST = re.compile(r"[0-9a-f]{4,64}")
# The fields of each step; those of the first set may be left away altogether.
_FIELDS: dict[str, tuple[str, ...]] = {
    "claim": ("nonce",),
    "void": (),
    "intent": ("nonce",),
    "withdrawn": ("nonce",),
    "unknown": (),
    "job": ("job_id", "credits", "owner", "submitted_at", "fingerprint"),
    "failed": ("retryable", "refunded", "credits", "job_id"),
    "done": ("credits", "job_id"),
    "adopt": ("replaced", "job_id"),
    "regenerate": ("replaced",),
}
_OPTIONAL = ("intent", "withdrawn")
_WORDS = {"retryable": ("final", "retry"), "refunded": ("kept", "refunded")}


@dataclass(frozen=True, slots=True)
class StepName:
    """The name of one step's file.

    :param key: of the item.
    :param number: of the item's intent, from 1; 0: of an instruction for an item that has none.
    :param step: which one.
    :param nonce: of the worker that declares, where the storage cannot create exclusively.
    :param job_id: empty: there is none; ``_``: it is in the file.
    :param credits: None: not known.
    :param owner: digest of the task instance that paid; empty: none of ours did.
    :param submitted_at: seconds since 1970.
    :param fingerprint: digest of the request's fingerprint.
    :param retryable: whether another try may succeed.
    :param replaced: id of the job that an instruction replaces; empty: there was none.
    """

    key: str
    number: int
    step: str
    nonce: str = ""
    job_id: str = ""
    credits: int | None = None
    owner: str = ""
    submitted_at: int | None = None
    fingerprint: str = ""
    retryable: bool = False
    refunded: bool = False
    replaced: str = ""

    @property
    def path(self) -> str:
        """The file's name below the folder of all records."""
        return f"{shard_of(self.key)}/{self}"

    def __str__(self) -> str:
        fields = [_write_field(name, getattr(self, name)) for name in _FIELDS[self.step]]
        if self.step in _OPTIONAL and not self.nonce:
            fields = []
        return _SEPARATOR.join((self.key, str(self.number), self.step, *fields))

    @classmethod
    def parse(cls, path: str) -> StepName | None:
        """Read a file's name below the folder of all records.

        :returns: None for what is none of the records, such as a staging file.
        :raises InvalidInputError: it may be one that this version cannot read.
        """
        shard, _, name = path.rpartition("/")
        if name.startswith(".") or not name:
            return None
        key, number, step, *fields = [*name.split(_SEPARATOR), "", ""]
        fields = fields[:-2]
        if step.startswith("x-"):
            return None
        names = _FIELDS.get(step)
        if (
            names is None
            or not _KEY.fullmatch(key)
            or not _NUMBER.fullmatch(number)
            or shard != shard_of(key)
            or (len(fields) != len(names) and not (step in _OPTIONAL and not fields))
        ):
            raise _unreadable_error(path)
        try:
            values = {field: _read_field(field, text) for field, text in zip(names, fields, strict=False)}
        except ValueError:
            raise _unreadable_error(path) from None
        return cls(key, int(number), step, **values)  # type: ignore[arg-type]


def parse_names(paths: Iterable[str]) -> list[StepName]:
    """Read files' names below the folder of all records, without what is none of the records.

    :raises InvalidInputError: one of them may be a record that this version cannot read.
    """
    found = [StepName.parse(path) for path in paths]
    return [name for name in found if name is not None]


def parse_staged(path: str) -> StepName | None:
    """Read the name of a staging file below the folder of all records, which its writer may have left behind.

    :returns: what it was to become; None: it is no such file, or of no meaning for this version.
    """
    shard, _, name = path.rpartition("/")
    final = find_final_name(name)
    try:
        return StepName.parse(f"{shard}/{final}") if final is not None else None
    except InvalidInputError:
        return None


def check_key(key: str) -> str:
    """Return an item's key if it may be part of a name.

    :raises InvalidInputError: it has capitals, which would meet small ones on some disks, or other signs, or is too
        long: the key was not made by :mod:`magic_hour_provider.batch.rows`.
    """
    if _KEY.fullmatch(key) is None:
        raise InvalidInputError(f"{key[:60]!r} is no key of an item.")
    return key


def key_of(path: str) -> str:
    """Return the part of a file's name that is the same for all files of an item and for no other's."""
    return path.partition(_SEPARATOR)[0]


def shard_of(key: str) -> str:
    """Return the folder of an item, one of 256: disks and file servers take long over folders of very many files."""
    return hashlib.sha256(key.encode()).hexdigest()[:2]


def prefix_of(key: str) -> str:
    """Return what the names of all files of an item begin with."""
    return f"{key}{_SEPARATOR}"


def name_id(job_id: str | None) -> str:
    """Return a job's id as a name has it.

    :raises InvalidInputError: it is no id.
    """
    if not job_id:
        return ""
    if not is_id(job_id):
        raise InvalidInputError(f"{job_id[:60]!r} is no id of a job.")
    return job_id if len(job_id) <= _MAX_ID_IN_NAME else IN_THE_FILE


def _write_field(name: str, value: object) -> str:
    if name in _WORDS:
        return _WORDS[name][bool(value)]
    if name == "credits" and isinstance(value, int) and value < 0:
        return ""  # nobody is charged less than nothing: it is not known
    return "" if value is None else str(value)


def _read_field(name: str, text: str) -> object:
    if name in _WORDS:
        return bool(_WORDS[name].index(text))
    if name in ("credits", "submitted_at"):
        if text and not (text.isascii() and text.isdigit()):
            raise ValueError(text)
        return int(text) if text else None
    if name in ("job_id", "replaced"):
        fits = not text or text == IN_THE_FILE or is_id(text)
    else:
        fits = not text or _DIGEST.fullmatch(text) is not None
    if not fits:
        raise ValueError(text)
    return text


def _unreadable_error(path: str) -> InvalidInputError:
    return InvalidInputError(
        f"{path[:300]!r}, among the records of what this batch has paid for, is no name that this version of the "
        "package knows. A later version may have written it, or it belongs elsewhere. Nothing was sent, as that might "
        "pay twice.",
        next_step="Upgrade the package, or move the file away if it is none of its own.",
    )
