"""Hook: from an Airflow connection of type ``magic_hour`` to clients."""

from __future__ import annotations

import os
from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

from magic_hour_provider import DEFAULT_CONN_ID
from magic_hour_provider.api.catalog import get_tool
from magic_hour_provider.api.client import AsyncMagicHourClient, MagicHourClient
from magic_hour_provider.api.errors import InvalidInputError, MagicHourError, describe_credits
from magic_hour_provider.api.models import library_url
from magic_hour_provider.api.prices import estimate
from magic_hour_provider.api.protocol import check_api_key
from magic_hour_provider.api.redaction import redact
from magic_hour_provider.hooks.settings import ConnectionSettings

KEY_VARIABLE = "MAGIC_HOUR_API_KEY"


class MagicHourHook(BaseHook):
    """Opens clients for a Magic Hour connection.

    :param magic_hour_conn_id: id of the connection: password = API key, host = another base URL (simulator, mock
        server). If the default connection does not exist, the key in ``MAGIC_HOUR_API_KEY`` is used.
    """

    conn_name_attr = "magic_hour_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "magic_hour"
    hook_name = "Magic Hour"

    def __init__(self, magic_hour_conn_id: str = DEFAULT_CONN_ID) -> None:
        super().__init__()
        self.magic_hour_conn_id = magic_hour_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's own fields, for Airflow before 3.2 (later ones read the provider info)."""
        # Only Airflow's API server has these, or stands in for them.
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import StringField

        from magic_hour_provider.get_provider_info import get_provider_info

        return {
            name: StringField(
                lazy_gettext(field["label"]),
                widget=BS3TextFieldWidget(),
                description=field["description"],
            )
            for name, field in get_provider_info()["connection-types"][0]["conn-fields"].items()
        }

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Describe the connection form, for Airflow before 3.2 (later ones read the provider info)."""
        from magic_hour_provider.get_provider_info import get_provider_info

        behaviour = get_provider_info()["connection-types"][0]["ui-field-behaviour"]
        return {
            "hidden_fields": behaviour["hidden-fields"],
            "relabeling": behaviour["relabeling"],
            "placeholders": behaviour["placeholders"],
        }

    def _without_connection(self, error: Exception) -> ConnectionSettings:
        """Fall back to the key in the environment, for the default connection only."""
        key = os.environ.get(KEY_VARIABLE)
        if self.magic_hour_conn_id == DEFAULT_CONN_ID and key:
            return ConnectionSettings(api_key=check_api_key(key))
        raise InvalidInputError(
            f"There is no Airflow connection {self.magic_hour_conn_id!r} that Airflow can read.",
            next_step="Make one of type Magic Hour with your API key as its password (or, for "
            f"{DEFAULT_CONN_ID!r}, set {KEY_VARIABLE} on every worker and triggerer).",
        ) from error

    def settings(self) -> ConnectionSettings:
        """Resolve the connection.

        :raises InvalidInputError: there is none, or it cannot work.
        """
        try:
            conn = self.get_connection(self.magic_hour_conn_id)
        except AirflowNotFoundException as error:
            return self._without_connection(error)
        return ConnectionSettings.from_connection(conn, conn.extra_dejson)

    async def async_settings(self) -> ConnectionSettings:
        """Resolve the connection without blocking the event loop; as :meth:`settings`."""
        from airflow.providers.common.compat import connection as compat
        from asgiref.sync import sync_to_async

        try:
            conn = await compat.get_async_connection(self.magic_hour_conn_id)
        except AirflowNotFoundException as error:
            return self._without_connection(error)
        if hasattr(compat, "get_async_extra_dejson"):
            extra = await compat.get_async_extra_dejson(conn)
        else:
            # common-compat as Airflow 3.1 and 3.2 pin it: there reading the extra masks its secrets synchronously. Not
            # in any thread: on 3.1 one that does not know this event loop would break Airflow's own requests.
            extra = await sync_to_async(lambda: conn.extra_dejson)()
        return ConnectionSettings.from_connection(conn, extra)

    def get_conn(self, settings: ConnectionSettings | None = None) -> MagicHourClient:
        """Open the client for a worker; close it after use.

        :param settings: what the connection says, if it has been resolved already.
        """
        return MagicHourClient.from_options(settings or self.settings())

    async def get_async_conn(self, settings: ConnectionSettings | None = None) -> AsyncMagicHourClient:
        """Open the client for a triggerer without blocking the event loop; close it after use.

        :param settings: what the connection says, if it has been resolved already.
        """
        return await AsyncMagicHourClient.open(settings or await self.async_settings())

    # -- free calls, also for the tools of an agent: their first lines and parameters are what a model reads ----------

    def get_account(self) -> dict[str, Any]:
        """Return the account's plan and how many credits are left, which is free.

        :returns: ``tier``, ``credits`` and ``usage_based``: then there is no plan, and the balance means little.
        :raises MagicHourError: the service cannot be asked, or refuses the key.
        """
        with self.get_conn() as client:
            account = client.get_account()
        return {"tier": account.tier, "credits": account.credits, "usage_based": account.usage_based}

    def list_saved_items(self, type: str | None = None) -> list[dict[str, Any]]:  # noqa: A002 (the API's own word)
        """Return the account's saved characters, voices and so on, which is free.

        :param type: character, voice, moodboard, brand_kit or reference; none: all of them.
        :returns: of each ``id``, ``name``, ``type`` and ``assets``, without their links, which are secrets.
        :raises MagicHourError: the service cannot be asked, or refuses the key.
        """
        with self.get_conn() as client:
            items = client.list_saved_items(type=type)
        return [{**item, "assets": [_without_link(one) for one in item.get("assets") or ()]} for item in items]

    def describe_tool(self, tool: str) -> dict[str, Any]:
        """Return what a request to a tool of Magic Hour may hold, as a JSON Schema, which is free.

        :param tool: name of the tool, such as ai-image-generator.
        :returns: ``tool``, ``kind`` of its output, ``files``: the fields that take one, and ``schema`` of its request.
        :raises InvalidInputError: there is no such tool.
        """
        found = get_tool(tool)
        files = [{"field": one.field, "accepts": list(one.accepts)} for one in found.files]
        return {"tool": found.slug, "kind": found.kind, "files": files, "schema": found.schema}

    def estimate(self, tool: str, request: dict[str, Any]) -> dict[str, Any]:
        """Estimate what a request to a tool of Magic Hour costs, in credits, which is free.

        :param tool: name of the tool, such as ai-image-generator.
        :param request: the JSON body that would be sent to the tool.
        :returns: ``credits``, none if that is not known, and ``basis``: ``published`` or ``none``.
        :raises InvalidInputError: there is no such tool.
        """
        return estimate(tool, request).to_json()

    def get_job(self, kind: str, job_id: str) -> dict[str, Any]:
        """Return how far a job of Magic Hour is, which is free.

        :param kind: video, image, audio or face-detection.
        :param job_id: the job's id.
        :returns: ``id``, ``kind``, ``name``, ``status``, ``credits_charged``, ``error_code``, ``error_message`` and
            ``library_url``; no link to a file, which would be a secret.
        :raises MagicHourError: the service cannot be asked, or refuses the key.
        """
        with self.get_conn() as client:
            job = client.find_job(kind, job_id)
        names = ("id", "kind", "name", "status", "credits_charged", "error_code", "error_message")
        facts = {name: getattr(job, name) for name in names} | {"library_url": library_url(job.kind, job.id)}
        return {name: redact(value) if isinstance(value, str) else value for name, value in facts.items()}

    def test_connection(self) -> tuple[bool, str]:
        """Ask for the account, which costs nothing, and show its plan and credits."""
        try:
            with self.get_conn() as client:
                account = client.get_account()
        except MagicHourError as error:
            return False, str(error)
        credit = "usage-based" if account.usage_based else describe_credits(account.credits)
        return True, f"Connected to Magic Hour: plan {account.tier}, {credit}."


def _without_link(asset: Any) -> Any:
    return {name: value for name, value in asset.items() if name != "url"} if isinstance(asset, dict) else asset
