"""What Airflow reads of this package: its operators, its connection type and its settings."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider information that Airflow reads from the entry point ``apache_airflow_provider``.

    Format: ``provider_info.schema.json`` of apache-airflow-core; ``conn-fields`` and ``ui-field-behaviour`` are read
    from Airflow 3.2, before that the hook's methods are.
    """
    return {
        "package-name": "airflow-provider-magic-hour",
        "name": "Magic Hour",
        "description": "AI video, image and audio generation with `Magic Hour <https://magichour.ai>`__.",
        "integrations": [
            {
                "integration-name": "Magic Hour",
                "external-doc-url": "https://docs.magichour.ai",
                "logo": "/docs/images/logo.svg",
                "how-to-guide": [
                    "/docs/guides/one-job.md",
                    "/docs/guides/batch.md",
                    "/docs/guides/decorators.md",
                    "/docs/guides/paying-once.md",
                    "/docs/guides/webhooks.md",
                    "/docs/guides/agents.md",
                ],
                "tags": ["service"],
            }
        ],
        "operators": [
            {
                "integration-name": "Magic Hour",
                "python-modules": [
                    "magic_hour_provider.operators.magic_hour",
                    "magic_hour_provider.operators.batch",
                    "magic_hour_provider.operators.video",
                    "magic_hour_provider.operators.image",
                    "magic_hour_provider.operators.audio",
                    "magic_hour_provider.operators.files",
                    "magic_hour_provider.agents.operator",
                ],
            }
        ],
        "sensors": [{"integration-name": "Magic Hour", "python-modules": ["magic_hour_provider.sensors.job"]}],
        "hooks": [{"integration-name": "Magic Hour", "python-modules": ["magic_hour_provider.hooks.magic_hour"]}],
        "triggers": [
            {
                "integration-name": "Magic Hour",
                "python-modules": ["magic_hour_provider.triggers.job", "magic_hour_provider.triggers.batch"],
            }
        ],
        "asset-uris": [
            {"schemes": ["magic-hour"], "handler": "magic_hour_provider.outputs.asset_uris.check_asset_uri"}
        ],
        "plugins": [{"name": "magic_hour", "plugin-class": "magic_hour_provider.plugin.MagicHourPlugin"}],
        "cli": ["magic_hour_provider.cli.definition.get_magic_hour_cli_commands"],
        "task-decorators": [
            {"name": "magic_hour", "class-name": "magic_hour_provider.decorators.magic_hour_task"},
            {"name": "magic_hour_batch", "class-name": "magic_hour_provider.decorators.magic_hour_batch_task"},
        ],
        "extra-links": ["magic_hour_provider.links.MagicHourLink"],
        "connection-types": [
            {
                "connection-type": "magic_hour",
                "hook-name": "Magic Hour",
                "hook-class-name": "magic_hour_provider.hooks.magic_hour.MagicHourHook",
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "schema", "port"],
                    "relabeling": {"password": "API key", "host": "Base URL"},
                    "placeholders": {
                        "password": "from Magic Hour's Developer Hub",
                        "host": "empty for https://api.magichour.ai; or the simulator's address",
                    },
                },
                "conn-fields": {
                    "webhook_secret": {
                        "label": "Webhook secret",
                        "description": (
                            "From Magic Hour's Developer Hub, for webhooks to /magic-hour/webhook on this Airflow's "
                            "API server; two of them, with a blank between, while one replaces the other."
                        ),
                        "schema": {"type": ["string", "null"], "format": "password"},
                    },
                    "timeout": {
                        "label": "Request timeout (seconds)",
                        "description": "Seconds without progress after which a request counts as lost; empty: 60.",
                        "schema": {"type": ["number", "null"]},
                    },
                    "max_polls_per_second": {
                        "label": "Max polls per second",
                        "description": (
                            "How many status requests one triggerer sends per second at the most, for all jobs of "
                            "this connection together; empty: 200. It starts slower and slows down by itself when "
                            "Magic Hour says so."
                        ),
                        "schema": {"type": ["number", "null"]},
                    },
                    "verify": {
                        "label": "TLS certificates",
                        "description": "true, false, or the path of a file with certificates to trust; empty: true.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "proxy": {
                        "label": "Proxy",
                        "description": "Address of a proxy for requests to Magic Hour.",
                        "schema": {"type": ["string", "null"], "format": "password"},
                    },
                },
            }
        ],
        "config": {
            "magic_hour": {
                "description": "Settings of the Magic Hour provider.",
                "options": {
                    "output_path": {
                        "description": (
                            "Folder for finished files where a task names none: any ObjectStoragePath, such as "
                            "s3://conn@bucket/magic-hour; may be a template. Empty: nothing is downloaded."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://aws_default@media/{{ dag.dag_id }}/{{ run_id }}",
                        "default": "",
                    },
                    "media_roots": {
                        "description": (
                            "Folders whose files the Media tab may show, separated by commas or new lines: absolute "
                            "paths that the API server can read, or object storage addresses with their own "
                            "connection. Nothing outside them is ever served. Empty: output_path, if it is no "
                            "template; else none."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://aws_default@media/campaigns, /mnt/media",
                        "default": "",
                    },
                    "webhook_conn_ids": {
                        "description": (
                            "Connections whose webhooks the API server accepts, separated by commas: POST "
                            "/magic-hour/webhook/<connection id>. Any other id is answered with 503, and no "
                            "connection is read. Empty: none."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "magic_hour_default, magic_hour_marketing",
                        "default": "magic_hour_default",
                    },
                    "api_server_url": {
                        "description": (
                            "Where a task reaches the API server that serves Airflow's plugins, for deliveries of "
                            "webhooks that came through a queue. Empty: where Airflow's workers reach it, by [core] "
                            "execution_api_server_url."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "http://airflow-api-server:8080",
                        "default": "",
                    },
                    "ledger_path": {
                        "description": (
                            "Folder for the records of what was paid for, which all workers of one Airflow, and no "
                            "other Airflow, share: an absolute path or any ObjectStoragePath, no template. Where "
                            "Airflow has its task state store (3.3 and later) it is a second place, which a task that "
                            "was cleared during its paid request can still write; before, without it the records are "
                            "in .magic-hour-ledger under the task's output_path. It also keeps what jobs were charged, "
                            "for estimates, and how long they took, for the polling of a triggerer that restarts."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://aws_default@state/magic-hour",
                        "default": "",
                    },
                    "inline_wait_seconds": {
                        "description": (
                            "Seconds a task waits on its worker for a tool that usually needs no longer, before it "
                            "defers: resuming a deferred task costs a second process. 0 defers at once."
                        ),
                        "version_added": "0.1.0",
                        "type": "float",
                        "example": None,
                        "default": "30",
                    },
                    "end_from_trigger": {
                        "description": (
                            "Whether the triggerer ends a deferred task whose job is complete, where "
                            "no file is to be stored, the task has no outlets and no callbacks, and nothing else "
                            "needs a worker: that saves the start of a second one."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": None,
                        "default": "True",
                    },
                    "resend_after_bad_gateway": {
                        "description": (
                            "Whether a paid request is sent again after Magic Hour's own HTTP 502, of which it "
                            "documents that no job was made: twice at most, only while the balance is unchanged and "
                            "no other Magic Hour task of the DAG run can have changed it. What other DAGs and other "
                            "users of the account do at that moment is not seen: where paying twice must not happen, "
                            "set it to False."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": None,
                        "default": "True",
                    },
                    "min_credits_left": {
                        "description": (
                            "No job is submitted while the account has fewer credits than this. A minimum, not a lock: "
                            "tasks that start together all see the same balance. Not for usage-based accounts."
                        ),
                        "version_added": "0.1.0",
                        "type": "integer",
                        "example": "500",
                        "default": "0",
                    },
                    "max_credits_per_run": {
                        "description": (
                            "No job is submitted by which all tasks of its DAG run together would have paid and "
                            "reserved more credits than this, by its estimate. A DAG's param max_credits_per_run or "
                            "an operator's argument of this name counts instead. 0: no limit."
                        ),
                        "version_added": "0.1.0",
                        "type": "integer",
                        "example": "5000",
                        "default": "0",
                    },
                    "sidecar": {
                        "description": (
                            "Beside the files of each job a small one, <tool>-<id>.json, says what they are and which "
                            "request made them, without secrets."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": None,
                        "default": "True",
                    },
                    "input_transfer": {
                        "description": (
                            "How input files in S3, Google Cloud Storage and Azure reach Magic Hour: 'upload', through "
                            "the worker, or 'presign': by a link that opens the file for 24 hours, so that no byte "
                            "passes through the worker. Whoever has the link can read the file. A task's "
                            "argument of this name counts instead; what cannot be signed, or not be reached from "
                            "outside, is uploaded, and the log says why."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "presign",
                        "default": "upload",
                    },
                    "tag_job_names": {
                        "description": (
                            "Which job names carry a tag that finds a job whose response was lost: 'all', 'generated' "
                            "(not those a user chose) or 'none'."
                        ),
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": None,
                        "default": "all",
                    },
                },
            }
        },
    }
