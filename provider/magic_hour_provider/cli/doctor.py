"""``doctor``: checks what this provider needs, and says what to do about each problem."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator

from magic_hour_provider.cli.checks.connection import check_connection
from magic_hour_provider.cli.checks.finding import Finding, explain
from magic_hour_provider.cli.checks.media_roots import check_media_roots
from magic_hour_provider.cli.checks.records import check_records
from magic_hour_provider.cli.checks.settings import check_settings
from magic_hour_provider.cli.checks.versions import check_versions
from magic_hour_provider.cli.checks.webhooks import check_webhooks
from magic_hour_provider.cli.command import as_command, print_rows


@as_command
def run_checks(args: Namespace) -> None:
    """Print what each check finds; the exit code is 1 if one has found a problem."""
    checks: dict[str, Callable[[], Iterable[Finding]]] = {
        "connection": lambda: check_connection(args.conn_id),
        "webhook secret": check_webhooks,
        "media root": check_media_roots,
        "records": check_records,
        "settings": check_settings,
        "versions": check_versions,
    }
    findings = [finding for subject, check in checks.items() for finding in _run(subject, check)]
    rows = [{"status": one.status, "check": one.check, "finding": one.message} for one in findings]
    print_rows(rows, args.output)
    if any(finding.status == "problem" for finding in findings):
        sys.exit(1)


def _run(subject: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Run one check; what it did not expect is a finding, and the other checks still run."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 (a check asks connections, storages and settings of every kind)
        yield Finding(
            "problem", subject, f"It could not be checked: {explain(error)} Run it again with --verbose for the log."
        )
