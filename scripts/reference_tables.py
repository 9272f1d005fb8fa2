"""Writes the tables of the reference that the package itself has the facts of: parameters, settings, records."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import magic_hour_provider
from docstrings import parse_docstring, plain_to_markdown, read_docstring, sentence
from magic_hour_provider import metrics
from magic_hour_provider.api import errors
from magic_hour_provider.api.catalog import CONCURRENT_JOBS, MAX_UPLOAD_BYTES, POLLING_CLASSES
from magic_hour_provider.batch.run.conclusion import BatchIncompleteError
from magic_hour_provider.execution.report import error_code
from magic_hour_provider.get_provider_info import get_provider_info
from magic_hour_provider.ledger.record import Record, RecordError
from magic_hour_provider.outputs.result import StoredFile
from markdown_text import code, duration, size, table

_PACKAGE = Path(magic_hour_provider.__file__).parent
_OPERATORS = "magic_hour_provider.operators"


def parameters(name: str) -> str:
    """Return the table of a class's or function's arguments, as its docstring describes them.

    :param name: dotted, such as ``package.module.Class``.
    """
    documented = resolve_name(name)
    defaults = dict(_defaults(documented))
    said = {one: text for one, text in read_docstring(documented).params.items() if one != "kwargs"}
    rows = [(code(one), _default(one, defaults), sentence(text)) for one, text in said.items()]
    return table(("Parameter", "Default", "Meaning"), rows)


def _defaults(documented: Any) -> Iterator[tuple[str, Any]]:
    """Yield each argument and its default, of the base classes first: the nearest one counts."""
    owners = reversed(documented.__mro__) if inspect.isclass(documented) else (documented,)
    for owner in owners:
        function = vars(owner).get("__init__") if inspect.isclass(owner) else owner
        if callable(function):
            for argument in inspect.signature(function).parameters.values():
                yield argument.name, argument.default


def _default(name: str, defaults: dict[str, Any]) -> str:
    default = defaults.get(name, inspect.Parameter.empty)
    if default is inspect.Parameter.empty:
        return "required"
    return "none" if default is None else code(f'"{default}"' if isinstance(default, str) else repr(default))


def settings() -> str:
    """Return the table of the settings ``[magic_hour]``."""
    options = get_provider_info()["config"]["magic_hour"]["options"]
    rows = []
    for name, option in options.items():
        example = f" Such as {code(option['example'])}." if option.get("example") else ""
        default = option["default"]
        rows.append(
            (
                code(name),
                option["type"],
                code(default) if default else "empty",
                plain_to_markdown(option["description"]) + example,
            )
        )
    return table(("Setting", "Type", "Default", "Meaning"), rows)


def connection_fields() -> str:
    """Return the table of what a connection of type ``magic_hour`` holds."""
    (kind,) = get_provider_info()["connection-types"]
    own = kind["ui-field-behaviour"]
    rows = [(own["relabeling"][name], code(name), sentence(own["placeholders"][name])) for name in ("password", "host")]
    rows += [
        (field["label"], f"extra {code(name)}", sentence(plain_to_markdown(field["description"])))
        for name, field in kind["conn-fields"].items()
    ]
    return table(("In the form", "In a URI or JSON", "Meaning"), rows)


# Of those that say nothing of the charge, or not the same each time.
_FREE = "Nothing by this request; a job that is paid for stays paid."
_CHARGES = {
    errors.JobCanceledError: "A canceled video is refunded; a job that is gone stays charged.",
    errors.NotRetryableError: "What the message says.",
    errors.TransferError: "The job stays charged; a retry collects its files and pays nothing.",
    errors.InputChangedError: "Nothing: no job was made yet.",
    errors.JobNotFoundError: "Nothing: the task pays for nothing.",
    BatchIncompleteError: "What the message says, item by item.",
}
_RETRIES = {
    errors.SubmissionUnknownError: "No. A webhook or a person finds the job.",
    errors.JobFailedError: "It depends on the [job's own code](#codes-of-a-failed-job).",
    BatchIncompleteError: "Yes: it makes only what is missing.",
}
_WORKINGS = (errors.MagicHourError, errors.SignatureError)


def own_errors() -> str:
    """Return the table of the package's errors: the code, what it means for the charge, and whether a retry helps."""
    kinds = [one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, errors.MagicHourError)]
    rows = []
    for kind in (*kinds, RecordError, BatchIncompleteError):
        if kind not in _WORKINGS:
            charge = _CHARGES.get(kind) or (kind.charge.sentence if kind.charge is not None else _FREE)
            retry = _RETRIES.get(kind) or ("Yes." if kind.retryable else "No.")
            rows.append((f"{code(_word(kind))}<br>{code(kind.__name__)}", read_docstring(kind).first, charge, retry))
    return table(("Code, class", "What happened", "The charge", "Is a retry useful?"), rows)


def _word(kind: type[errors.MagicHourError]) -> str:
    made = kind.__new__(kind)
    made.code = None
    return error_code(made)


def job_codes() -> str:
    """Return the table of the codes of failed jobs that another job would meet again."""
    return ", ".join(map(code, sorted(errors._FINAL_JOB_CODES)))


def record_fields() -> str:
    """Return the table of a record's fields."""
    return _field_table(Record)


def media_fields() -> str:
    """Return the table of an entry of a result's ``media``."""
    return _field_table(StoredFile)


def _field_table(kind: type) -> str:
    types = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    said = read_docstring(kind).params
    stored = {"tag": "key"} if kind is Record else {}
    rows = []
    for name, type_name in types.items():
        if name in said:
            rows.append((code(stored.get(name, name)), type_name.replace(" | None", " or none"), sentence(said[name])))
    return table(("Field", "Type", "Meaning"), rows)


def metric_table() -> str:
    """Return the table of the metrics: the name, how Airflow counts it, and its meaning."""
    kinds = _metric_kinds()
    tree = ast.parse(Path(metrics.__file__).read_text("utf-8"))
    rows = []
    for made, said in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(made, ast.Assign) and isinstance(made.value, ast.Constant) and isinstance(said, ast.Expr):
            name = ast.literal_eval(made.value)
            assert isinstance(made.targets[0], ast.Name)
            rows.append((code(name), kinds[made.targets[0].id], parse_docstring(ast.literal_eval(said.value)).text))
    return table(("Metric", "Type", "Meaning"), rows)


def _metric_kinds() -> dict[str, str]:
    """Return how each metric is sent, by the name of its constant: as the code does it."""
    words = {"gauge": "gauge", "timing": "timer"}
    kinds = {name: "counter" for name in vars(metrics) if name.isupper()}
    for path in _PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in words:
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Name) and first.id in kinds:
                    kinds[first.id] = words[node.func.attr]
    return kinds


def polling_classes() -> str:
    """Return the table of polling intervals and of how long a task waits."""
    from magic_hour_provider.api.catalog import TOOLS

    rows = []
    for name, one in POLLING_CLASSES.items():
        tools = [code(slug) for slug, tool in TOOLS.items() if tool.polling_class().name == name]
        low, high = one.poll_interval_s
        interval = f"{low:g} s" if low == high else f"{low:g} to {high:g} s"
        rows.append((code(name), interval, duration(one.timeout_s), ", ".join(tools)))
    return table(("Class", "Polled every", "A task waits at most", "Tools"), rows)


def plans() -> str:
    """Return the table of what depends on the account's plan."""
    rows = [(tier, str(CONCURRENT_JOBS[tier] or "any number"), size(count)) for tier, count in MAX_UPLOAD_BYTES.items()]
    return table(("Plan", "Jobs at the same time", "Largest uploaded file"), rows)


def typed_options() -> str:
    """Return the names of the operators of single tools, by the module that has them."""
    rows = []
    for module in ("video", "image", "audio"):
        found = resolve_name(f"{_OPERATORS}.{module}")
        names = [name for name, one in vars(found).items() if inspect.isclass(one) and hasattr(one, "slug")]
        own = [name for name in names if getattr(found, name).__module__ == found.__name__]
        rows.append((code(found.__name__), ", ".join(map(code, own))))
    return table(("Module", "Operators"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings,
    "connection fields": connection_fields,
    "errors": own_errors,
    "codes of jobs that fail for good": job_codes,
    "record": record_fields,
    "media": media_fields,
    "metrics": metric_table,
    "polling classes": polling_classes,
    "plans": plans,
    "typed operators": typed_options,
}
