"""``account``: the plan and the credits behind a connection."""

from __future__ import annotations

from argparse import Namespace

from magic_hour_provider.cli.command import as_command, print_details
from magic_hour_provider.hooks.magic_hour import MagicHourHook


@as_command
def show_account(args: Namespace) -> None:
    """Print plan and credits."""
    with MagicHourHook(args.conn_id).get_conn() as client:
        account = client.get_account()
        address = client.base_url
    details = {
        "connection": args.conn_id,
        "address": address,
        "account": account.id,
        "plan": account.tier,
        "credits": account.credits,
        "usage_based": account.usage_based,
    }
    print_details(details, args.output)
