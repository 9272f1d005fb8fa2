"""Presigned links of stored objects, made with a path's own credentials by the library behind it.

A link opens one object for reading, for a while, to whoever has it. Signing needs no request to the storage, with two
exceptions: S3 is asked for the region of a bucket where the connection names no endpoint, and Google signs itself where
its connection impersonates a service account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from magic_hour_provider.api.errors import describe_error
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.api.transport.http import quiet
from magic_hour_provider.storage.files import S3

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

PRESIGNED_LIFE_S = 24 * 3600
"""For how long a link opens its file, in seconds; the signatures of S3 and Google take a week at the most."""

_GOOGLE = ("gs", "gcs")
_AZURE = ("abfs", "abfss", "az", "adl")
# A signature with a key that Google keeps, and replaces
# (https://cloud.google.com/sdk/gcloud/reference/storage/sign-url).
_GOOGLES_KEY_S = 12 * 3600
_SIGNATURES = ("x-amz-signature", "x-goog-signature", "signature", "sig")


class NotSignedError(Exception):
    """An object cannot be given as a link; the text is the reason, without an end."""


def sign_path(path: ObjectStoragePath, least_s: float) -> str:
    """Return a link that opens a stored object for :data:`PRESIGNED_LIFE_S`.

    In Airflow's own thread: a file system may ask for its connection at its first use.

    :param least_s: for how long it must open it, in seconds: temporary credentials may end earlier, and their links do.
    :raises NotSignedError: there is none.
    """
    protocol = path.protocol or "file"
    try:
        with quiet("botocore.auth"):  # at DEBUG it logs what it signs, and the signature
            if protocol in S3:
                link = _sign_s3(path.fs, path.path, least_s)
            elif protocol in _GOOGLE:
                link = _sign_google(path.fs, path.path)
            elif protocol in _AZURE:
                link = _sign_azure(path.fs, path.path)
            else:
                raise NotSignedError(
                    f"a file of {protocol}:// has no such link, only those of S3, Google Cloud Storage and Azure have"
                )
    except NotSignedError:
        raise
    except Exception as error:  # noqa: BLE001 (each storage library has errors of its own)
        text = redact(describe_error(error), limit=300)
        raise NotSignedError(f"its storage's library cannot sign it ({text})") from None
    # One signature: a second one would be of the connection itself, and may open more than this object.
    names = [name.lower() for name, _ in parse_qsl(urlsplit(link).query)]
    if link.count("?") != 1 or sum(name in _SIGNATURES for name in names) != 1:
        raise NotSignedError("its storage's library gives a link that is not signed for this object alone")
    return link


def _sign_s3(fs: Any, path: str, least_s: float) -> str:
    from fsspec.asyn import sync

    if fs.anon:
        raise NotSignedError("its connection is anonymous")
    if not fs.key and sync(fs.loop, _ends_within, fs, least_s):
        raise NotSignedError(
            f"its connection's credentials are temporary and end within {least_s / 60:.0f} minutes, and a link ends "
            "with the credentials that signed it"
        )
    # By itself botocore signs links for the older regions with a version that newer buckets refuse, and for the
    # connection's region, whatever that of the bucket is. The same file system with these options does neither; fsspec
    # keeps it, so that a batch makes one. Not of an s3fs such as 2026.4: that signs a second link with a session of its
    # own, and so with whatever credentials the worker has.
    options = fs.storage_options | {
        "config_kwargs": {"signature_version": "s3v4", **fs.config_kwargs},
        "cache_regions": True,
        "skip_instance_cache": not hasattr(fs, "_session_is_owned"),
    }
    link: str = type(fs)(*fs.storage_args, **options).sign(path, expiration=PRESIGNED_LIFE_S)
    return link


async def _ends_within(fs: Any, seconds: float) -> bool:
    """Whether the credentials are known to end so soon."""
    if fs.session is None:  # an s3fs as above would put its own in the place of the connection's
        await fs.set_session()
    credentials = await fs.session.get_credentials()
    if credentials is None or not hasattr(credentials, "refresh_needed"):
        return False  # they do not end, or nobody knows when
    await credentials.get_frozen_credentials()  # those that end in a moment are renewed
    return bool(credentials.refresh_needed(seconds))


def _sign_google(fs: Any, path: str) -> str:
    from google.auth.credentials import Signing
    from google.oauth2.service_account import Credentials

    credentials = fs.credentials.credentials
    if credentials is None:  # gcsfs would sign with whatever else this machine has
        raise NotSignedError("its connection is anonymous")
    if not isinstance(credentials, Signing):
        raise NotSignedError(
            "its connection has no service account's key, and Google Cloud Storage signs with nothing else"
        )
    life = PRESIGNED_LIFE_S if isinstance(credentials, Credentials) else _GOOGLES_KEY_S
    link: str = fs.sign(path, expiration=life, version="v4")
    return link


def _sign_azure(fs: Any, path: str) -> str:
    if not fs.account_key and "accountkey=" not in (fs.connection_string or "").lower():
        raise NotSignedError("its connection has no account key, and adlfs signs with nothing else")
    link: str = fs.sign(path, expiration=PRESIGNED_LIFE_S)
    return link
