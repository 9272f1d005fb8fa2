"""Keeps what opens the user's own signed links out of Airflow's logs and of the rendered fields in its UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator
    from airflow.sdk import Context

    _Task = BaseOperator
else:
    _Task = object


def mask_link_secrets(*values: Any) -> None:
    """Let Airflow show ``***`` in this process for every signature, token and password in the values' links."""
    # Its patterns take long to compile, and whoever parses a DAG file needs none.
    from magic_hour_provider.api.redaction import find_link_secrets

    for value in values:
        for secret in find_link_secrets(value):
            from airflow.sdk.log import mask_secret

            mask_secret(secret)


class LinkSecretMasking(_Task):
    """Mixin of tasks that render their templates as Airflow does."""

    def render_template(
        self, content: Any, context: Context, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render as Airflow does; what opens signed links is kept out of Airflow's UI and logs."""
        mask_link_secrets(content)  # first: Airflow logs a template that cannot be rendered
        value = super().render_template(content, context, jinja_env, seen_oids)
        mask_link_secrets(value)
        return value
