"""``job``: one poll of a job."""

from __future__ import annotations

from argparse import Namespace

from magic_hour_provider.api.catalog import TOOLS
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.api.models import check_id, library_url, parse_library_url
from magic_hour_provider.cli.command import as_command, print_details
from magic_hour_provider.hooks.magic_hour import MagicHourHook


@as_command
def show_job(args: Namespace) -> None:
    """Poll a job and print what is known of it."""
    kind, job_id = parse_job(args.job)
    with MagicHourHook(args.conn_id).get_conn() as client:
        job = client.get_job(kind, job_id)
    details = {
        "status": job.status,
        "kind": job.kind,
        "id": job.id,
        "name": job.name,
        "credits_charged": job.credits_charged,
        "files": len(job.downloads),
        "faces": len(job.faces),
        "error_code": job.error_code,
        "error_message": job.error_message,
        "created_at": job.created_at,
        "library_url": library_url(job.kind, job.id),
    }
    wanted = {name for name in details if not name.startswith("error_")} - {"faces"}
    if job.kind == "face-detection":
        wanted ^= {"files", "faces"}
    if job.error_code or job.error_message:
        wanted |= {"error_code", "error_message"}
    # A program finds the same keys for every job.
    is_for_people = args.output in ("table", "plain")
    print_details({name: value for name, value in details.items() if not is_for_people or name in wanted}, args.output)


def parse_job(text: str) -> tuple[str, str]:
    """Return the kind and the id that a person has given.

    :raises InvalidInputError: it names no job, or not its kind.
    """
    if (parsed := parse_library_url(text)) is not None:
        return parsed
    kinds = sorted({tool.kind for tool in TOOLS.values()})
    kind, slash, job_id = text.strip().partition("/")
    if not slash or kind not in kinds:
        raise InvalidInputError(
            f"{text[:120]!r} does not say which job is meant.",
            next_step=f"Give KIND/ID, such as image/{job_id or kind or 'ID'}"[:160]
            + f", where KIND is {', '.join(kinds)}; or the job's address in https://magichour.ai/my-library, in quotes "
            "as it has a '?' in it.",
        )
    return kind, check_id(job_id)
