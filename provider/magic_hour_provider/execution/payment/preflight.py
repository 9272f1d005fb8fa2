"""Everything that can fail for free, in the order in which it comes before the paid request."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowConfigException, conf

from magic_hour_provider import clock
from magic_hour_provider.api import errors
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.models import GONE, Account
from magic_hour_provider.api.prices import Estimate
from magic_hour_provider.api.protocol import check_create_body
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.execution.payment.limits import check_max_credits, setting_error
from magic_hour_provider.execution.spec import JobSpec
from magic_hour_provider.inputs.presigned import INPUT_TRANSFERS, PRESIGN, PresignedInputs
from magic_hour_provider.inputs.sources import check_inputs
from magic_hour_provider.inputs.upload import resolve_inputs
from magic_hour_provider.ledger.instruction import PUT_RIGHT_ID
from magic_hour_provider.ledger.tag import find_foreign_tag, make_job_name, new_tag
from magic_hour_provider.storage.paths import check_folder

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_TAG_JOB_NAMES = ("all", "generated", "none")


@dataclass(frozen=True)
class CheckedRequest:
    """A request that nothing free can stop any more.

    :param body: as it is sent: its files are uploaded, and the job has its name.
    :param tag: what ends the name, where it is tagged.
    :param name: the job's name; None: the service names it.
    :param account: the account just before, if it could be asked for: after the uploads, which may take long.
    :param account_at: when it was asked for, in seconds since 1970.
    """

    body: dict[str, Any]
    tag: str
    name: str | None
    account: Account | None
    account_at: float


def run_preflight(
    spec: JobSpec, client: MagicHourClient, generated_name: str, estimate: Estimate, log: FilteringBoundLogger
) -> CheckedRequest:
    """Check all that can fail for free, and upload the inputs, which is free too.

    :param generated_name: the name of a job that the user gave none, without its tag.
    :param estimate: what the job probably costs.
    :raises MagicHourError: something cannot work; nothing was paid.
    """
    tool, request = spec.tool, spec.request
    # The request itself.
    for warning in request.findings.warnings:
        log.warning("%s: %s. It is sent all the same; a refusal costs nothing.", tool.slug, redact(warning))
    request.findings.raise_errors(tool)
    for one in request.inputs:
        one.check(clock.current().now())
    if not isinstance(request.body.get("name"), str | None):
        raise errors.InvalidInputError(f"The name of a job is text; it is {request.body['name']!r}.")
    check_create_body(tool, request.body)
    check_max_credits(spec, estimate)
    # Airflow's settings.
    tag_job_names = read_tag_job_names()
    if _check_settings():
        log.warning(
            "[state_store] clear_on_success is on: once this task has succeeded its record is gone, and clearing "
            "it makes and pays for a new job."
        )
    # The user's storage.
    presigned = make_presigned(spec.input_transfer, client.base_url, spec.timeout_s)
    sources = check_inputs(request.inputs, clock.current().now(), presigned)
    if spec.output_path:
        check_folder(spec.output_path)
    # The account.
    account, account_at = _get_account(client, log), clock.current().now()
    check_min_credits(account)
    tier = account.tier if account else None
    # The uploads.
    body = resolve_inputs(client, request.body, request.inputs, sources, tier=tier)
    if request.inputs:
        account, account_at = _get_account(client, log), clock.current().now()
    tag, name = new_tag(), body.get("name")
    if tool.accepts_name:
        name = make_job_name(name, generated_name, tag, tag_job_names)
        body = {**body, "name": name} if name else body
    return CheckedRequest(body, tag, name, account, account_at)


def check_adopted_job(
    client: MagicHourClient,
    kind: str,
    job_id: str,
    *,
    tags: Collection[str],
    generated_name: str,
    place: str,
    log: FilteringBoundLogger,
) -> None:
    """Poll a job that a person wants the task to resume, before it takes the place of what is recorded.

    :param tags: of the task's own requests.
    :param generated_name: as of :func:`run_preflight`.
    :param place: where the person put the id.
    :raises InvalidInputError: Magic Hour does not know it.
    """
    job = client.find_job(kind, job_id)
    if job.status == GONE:
        raise errors.InvalidInputError(
            f"{place[:1].upper()}{place[1:]} names {job_id}, and Magic Hour finds no {kind} job of this id: it is "
            "mistyped, deleted, or of another account than the connection's key. Nothing was adopted.",
            next_step=PUT_RIGHT_ID,
        )
    tag = find_foreign_tag(job.name, tags, generated_name)
    if tag is None:
        return
    log.warning(
        "Job %s is adopted, although its name %r ends with the tag of another request (#%s): it may be another task's, "
        "which then has it too. If it is not the one that is meant, put the right id into %s and clear the task.",
        job_id,
        job.name,
        tag,
        place,
    )


def _check_settings() -> bool:
    """Check the settings that are first read when the job is paid for; return ``[state_store] clear_on_success``.

    :raises InvalidInputError: one cannot be read.
    """
    try:
        conf.getfloat("magic_hour", "inline_wait_seconds", fallback=30.0)
        conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0)
        conf.getboolean("magic_hour", "sidecar", fallback=True)
        conf.getboolean("magic_hour", "end_from_trigger", fallback=True)
        conf.getboolean("magic_hour", "resend_after_bad_gateway", fallback=True)
        conf.getint("magic_hour", "min_credits_left", fallback=0)
        return bool(conf.getboolean("state_store", "clear_on_success", fallback=False))
    except (AirflowConfigException, ValueError) as error:
        raise setting_error(error) from None


def read_tag_job_names() -> str:
    """Return ``[magic_hour] tag_job_names``.

    :raises InvalidInputError: it is none of its values.
    """
    value: str = conf.get("magic_hour", "tag_job_names", fallback="all").strip().lower()
    if value not in _TAG_JOB_NAMES:
        raise errors.InvalidInputError(
            f"[magic_hour] tag_job_names is {value!r}; it must be one of {', '.join(_TAG_JOB_NAMES)}.",
            next_step="Correct it in airflow.cfg or in its environment variable, and clear the task.",
        )
    return value


def read_input_transfer(given: str | None = None) -> str:
    """Return how files in object stores reach Magic Hour: what a task says, else ``[magic_hour] input_transfer``.

    :param given: by the task; None: nothing.
    :raises InvalidInputError: it is neither ``upload`` nor ``presign``.
    """
    value = given
    if value is None:
        value = conf.get("magic_hour", "input_transfer", fallback="upload").strip().lower() or "upload"
    if value not in INPUT_TRANSFERS:
        raise errors.InvalidInputError(
            f"{'input_transfer' if given else '[magic_hour] input_transfer'} is {value!r}; it must be one of "
            f"{', '.join(INPUT_TRANSFERS)}.",
            next_step="Correct it where it is given, and clear the task."
            if given
            else "Correct it in airflow.cfg or in its environment variable, and clear the task.",
        )
    return value


def make_presigned(given: str | None, base_url: str, wait_s: float) -> PresignedInputs | None:
    """Return what gives files to Magic Hour as links; None: they are uploaded.

    :param given: as of :func:`read_input_transfer`.
    :param base_url: of Magic Hour.
    :param wait_s: how long a job is waited for, in seconds.
    :raises InvalidInputError: as of :func:`read_input_transfer`.
    """
    return PresignedInputs(base_url, wait_s) if read_input_transfer(given) == PRESIGN else None


def add_link_advice(failure: errors.MagicHourError, given: str | None) -> None:
    """Say in the error of a job whose file could not be read that its link may be the cause.

    :param given: as of :func:`read_input_transfer`.
    """
    if not re.fullmatch(r"invalid_\w+_path", failure.code or ""):
        return
    with suppress(errors.InvalidInputError):  # the setting was changed since
        if read_input_transfer(given) == PRESIGN:
            failure.next_step = (
                "If its files were given as links (input_transfer is 'presign') and Magic Hour cannot reach their "
                f"storage from outside, say input_transfer='upload'. {failure.next_step or ''}"
            ).rstrip()


def _get_account(client: MagicHourClient, log: FilteringBoundLogger) -> Account | None:
    """Ask for the balance; also the first thing that a wrong key meets."""
    try:
        return client.get_account()
    except (errors.AuthenticationError, errors.ConnectionFailedError):
        raise
    except errors.MagicHourError as error:
        log.info("The balance could not be asked for, which changes nothing: %s", error)
        return None


def read_min_credits_left() -> int:
    """Return ``[magic_hour] min_credits_left``.

    :raises InvalidInputError: it is no number.
    """
    try:
        minimum: int = conf.getint("magic_hour", "min_credits_left", fallback=0)
    except (AirflowConfigException, ValueError) as error:
        raise setting_error(error) from None
    return minimum


def check_min_credits(account: Account | None) -> None:
    """Refuse to pay when the account has fewer credits than ``[magic_hour] min_credits_left``.

    A minimum balance, not a lock: tasks that start together all see the same balance.

    :param account: None: it could not be asked for.
    :raises InsufficientCreditsError: it has fewer.
    :raises ConnectionFailedError: its balance is not known.
    :raises InvalidInputError: the setting cannot be read.
    """
    minimum = read_min_credits_left()
    if minimum <= 0 or (account is not None and account.usage_based):
        return
    if account is None or account.credits is None:
        raise errors.ConnectionFailedError(
            f"[magic_hour] min_credits_left is {minimum}, and Magic Hour did not say how many credits the account has.",
            charge=errors.Charge.NONE,
            next_step="A retry asks again.",
        )
    if account.credits < minimum:
        raise errors.InsufficientCreditsError(
            f"The account has {errors.describe_credits(account.credits)}, and [magic_hour] min_credits_left keeps "
            f"{minimum}.",
            charge=errors.Charge.NONE,
            next_step="Top up at https://magichour.ai/pricing or lower the setting, then clear the task.",
        )
