"""What only a new payment needs of the settings: a worker that resumes must not fail for it."""

from __future__ import annotations

from dataclasses import dataclass

from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.spec import BatchSpec
from magic_hour_provider.execution.payment.preflight import make_presigned, read_min_credits_left, read_tag_job_names
from magic_hour_provider.inputs.presigned import PresignedInputs


@dataclass(frozen=True)
class PaymentSettings:
    """How jobs are submitted.

    :param presigned: gives files as links where it can; None: all are uploaded.
    :param tag_job_names: the setting of this name.
    """

    presigned: PresignedInputs | None = None
    tag_job_names: str = "all"


def read_payment_settings(spec: BatchSpec, base_url: str) -> tuple[PaymentSettings, InvalidInputError | None]:
    """Return the settings, and why nothing may be paid; None: it may.

    :param base_url: of Magic Hour.
    """
    try:
        read_min_credits_left()  # it is compared with the balance where something is to be paid for
        return PaymentSettings(
            make_presigned(spec.input_transfer, base_url, spec.timeout_s), read_tag_job_names()
        ), None
    except InvalidInputError as error:  # what is under way is paid for, and is waited for
        return PaymentSettings(), error
