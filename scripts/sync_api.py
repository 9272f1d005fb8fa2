"""Brings the package in step with the installed official SDK: the catalog, the typed operators, Airflow's registry.

A new release of the API is: raise ``magic-hour`` in pyproject.toml and constraints/, run this and then
docs_reference.py, read the diff. What the SDK does not say (polling intervals, medians, descriptions, bounds) is kept
by hand in api_facts.toml. ``--check`` writes nothing and fails where the files differ from what would be written.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from magic_hour_provider.get_provider_info import get_provider_info
from operator_source import operators_module, shapes_module
from registry import read_module, registry_file
from sdk_schemas import SDK_VERSION, Schema, SdkMethod, body_schema, methods

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "provider" / "magic_hour_provider"
FACTS = Path(__file__).with_name("api_facts.toml")
BASE_URL = "https://api.magichour.ai"
ADDED = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "format", "default", "enum")
MODULES = {"video": ("video",), "image": ("image", "face-detection"), "audio": ("audio",)}


class OutOfStepError(Exception):
    """The SDK has something that api_facts.toml does not describe, or the other way round."""


def main() -> int:
    """Write the files, or name those that differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file would change")
    check = parser.parse_args().check
    try:
        written = files()
    except OutOfStepError as error:
        print(error, file=sys.stderr)
        return 1
    changed = [path for path, text in written.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in changed:
        if not check:
            path.write_text(written[path], "utf-8")
        print(f"{'differs from what scripts/sync_api.py makes' if check else 'written'}: {path.relative_to(ROOT)}")
    return 1 if check and changed else 0


def files() -> dict[Path, str]:
    """Return every generated file and its text."""
    catalog = make_catalog(methods(), tomllib.loads(FACTS.read_text("utf-8")))
    made = {PACKAGE / "api" / "catalog.json": json.dumps(catalog, indent=1, ensure_ascii=False) + "\n"}
    tools = catalog["tools"]
    made[PACKAGE / "operators" / "shapes.py"] = formatted(shapes_module(tools))
    for module, kinds in MODULES.items():
        ours = {slug: tool for slug, tool in tools.items() if tool["kind"] in kinds}
        made[PACKAGE / "operators" / f"{module}.py"] = formatted(operators_module(module, ours))
    addresses = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["magic-hour"]
    reader = read_module(made, PACKAGE.parent)
    made[ROOT / ".airflow-registry.yaml"] = registry_file(get_provider_info(), addresses, reader)
    return made


def make_catalog(sdk: list[SdkMethod], facts: dict[str, Any]) -> dict[str, Any]:
    """Join the facts of the SDK with those kept by hand.

    :raises OutOfStepError: a tool or a field stands on one side only; the message names them all
    """
    creates = {method.path.removeprefix("/v1/"): method for method in sdk if method.name == "create"}
    upload = creates.pop("files/upload-urls")
    ours_only, new = facts["tools"].keys() - creates.keys(), creates.keys() - facts["tools"].keys()
    missing = [f"tool {slug!r} is new: describe it in api_facts.toml" for slug in new]
    missing += [f"tool {slug!r} is gone from the SDK" for slug in ours_only]
    tools: dict[str, Any] = {}
    for slug in sorted(creates.keys() & facts["tools"].keys()):
        body, ours = creates[slug].body, facts["tools"][slug]
        assert body is not None
        schema, left = body_schema(body), dict(ours.get("fields", {}))
        missing += describe(schema, slug, "", left, facts["describe"])
        known = {name for name, _ in walk(schema, "")}
        named = [*left, *ours.get("files", {})]
        missing += [f"{slug}: no field {path!r} in the SDK" for path in named if path not in known]
        tools[slug] = {
            "title": ours["title"],
            "about": ours["about"],
            "kind": ours["kind"],
            "path": creates[slug].path,
            "accepts_name": "name" in schema["properties"],
            "polling": ours["polling"],
            **({"polling_by": ours["polling_by"]} if "polling_by" in ours else {}),
            "median_s": ours.get("median_s"),
            "files": [{"field": path, "accepts": kinds} for path, kinds in ours.get("files", {}).items()],
            "schema": schema,
        }
    if missing:
        raise OutOfStepError(f"magic-hour {SDK_VERSION} and api_facts.toml differ:\n" + "\n".join(sorted(missing)))
    others = [method for method in sdk if method.name != "create"] + [upload]
    return {
        "sdk_version": SDK_VERSION,
        "base_url": BASE_URL,
        "polling": facts["polling"],
        "uploads": facts["uploads"],
        "concurrent_jobs": facts["concurrent_jobs"],
        "endpoints": [
            {"method": one.http, "path": one.path} for one in sorted(others, key=lambda one: (one.path, one.http))
        ],
        "tools": tools,
    }


def walk(schema: Schema, path: str) -> list[tuple[str, Schema]]:
    """Return every field of a schema by its dotted path; ``[]`` stands for the elements of a list."""
    found = []
    for name, inner in schema.get("properties", {}).items():
        where = f"{path}.{name}".lstrip(".")
        found += [(where, inner), *walk(inner, where)]
        if "items" in inner:
            found += [(f"{where}[]", inner["items"]), *walk(inner["items"], f"{where}[]")]
    return found


def describe(schema: Schema, slug: str, path: str, left: dict[str, Any], common: dict[str, str]) -> list[str]:
    """Add description, bounds and defaults to every field; take what was used out of ``left``; return what lacks."""
    missing = []
    for where, inner in walk(schema, path):
        if where.endswith("[]"):
            continue
        ours = left.pop(where, {})
        name = where.rpartition(".")[2]
        text = ours.get("description") or common.get(name)
        if text is None:
            missing.append(f"{slug}: {where!r} needs a description in api_facts.toml")
        inner["description"] = text
        for key in ADDED:
            if key in ours:
                inner[key] = ours[key]
        if ours.get("deprecated"):
            inner["deprecated"] = True
        if "default_by_tier" in ours:
            inner["x-default-by-tier"] = ours["default_by_tier"]
    return missing


def formatted(source: str) -> str:
    """Return source as the project formats it, its imports sorted."""
    for step in (["check", "--select", "I", "--fix-only", "--quiet"], ["format"]):
        command = [sys.executable, "-m", "ruff", *step, "--stdin-filename", "provider/generated.py", "-"]
        source = subprocess.run(command, input=source, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return source


if __name__ == "__main__":
    sys.exit(main())
