"""The user's own signed links: Airflow shows rendered fields to people, so their signatures are hidden."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import redact
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset
from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields

from helpers.attempts import Given, TaskInstance
from magic_hour_provider.operators.files import (
    MagicHourDeleteOperator,
    MagicHourDownloadOperator,
    MagicHourUploadOperator,
)
from magic_hour_provider.operators.image import MagicHourAIImageUpscalerOperator
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.sensors.job import MagicHourJobSensor


def link(number: int) -> str:
    """Return a link of S3 with a signature of its own."""
    return f"https://b.s3.example/{number}.png?X-Amz-Expires=60&X-Amz-Signature={number:x}fdeadbeef{number:x}&x-id=GetObject"


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (11, link(11)),
        (12, "{{ ti.start }}" + link(12)),
        (13, Given(link(13))),
        (14, Given({"uri": link(14), "index": 0})),
    ],
)
@pytest.mark.parametrize("typed", [False, True])
def test_a_signature_is_in_no_rendered_field(number, value, typed):
    """However the link got into the request; what is sent is whole."""
    assets = {"image_file_path": value}
    operator = (
        MagicHourAIImageUpscalerOperator(task_id="make", assets=assets, scale_factor=2)
        if typed
        else MagicHourOperator(task_id="make", tool="ai-image-upscaler", request={"assets": assets, "scale_factor": 2})
    )
    ti = TaskInstance()
    ti.start = ""
    operator.render_template_fields(ti.context(operator))
    shown = str(_serialize_rendered_fields(operator))
    assert f"https://b.s3.example/{number}.png?X-Amz-Expires=60&X-Amz-Signature=***" in shown
    assert "deadbeef" not in shown
    assert "deadbeef" not in redact(f"asked {link(number)} in vain")
    assert link(number) in str(operator.request)


SECRET = "hushhush0123456789abcdef0123456789abcdef0123"
LINKS = [
    "https://e.example/a.png?token={0}",
    "https://e.example/a.png?X-Amz-Algorithm=A&X-Amz-Security-Token={0}",
    "https://storage.example/a.png?X-Goog-Signature={0}&x=1",
    "https://a.example/a.png?sv=2024&sig={0}%3D",
    "https://d.example/a.png?Expires=1&Signature={0}__&Key-Pair-Id=K",
    "https://d.example/a.png?Policy={0}&Key-Pair-Id=K",
    "https://user:{0}@e.example/a.png",
    "https://{0}@e.example/a.png",
    "ftp://user:{0}@e.example/a.png",
    "https://e.example/a.png?upload_token={0}",
    "https://e.example/go?to=https%3A%2F%2Fe.example%2Fa.png%3Fsig%3D{0}%26x%3D1",
]
SHAPES = [
    lambda link: link,
    lambda link: [link, link],
    lambda link: (link,),
    lambda link: {"a": {"b": [link]}},
    lambda link: [{"uri": link, "index": 0}],
    lambda link: link.encode(),
    lambda link: Asset(name="a", uri="s3://b/k", extra={"from": link}),
    lambda link: {"text": f'{{"image": "{link}"}}'},
]


class MappedTaskInstance(TaskInstance):
    """A mapped task instance whose upstream task returned a value."""

    def __init__(self, value: Any) -> None:
        super().__init__("make", map_index=0)
        self.value = value

    def xcom_pull(self, *_: Any, **__: Any) -> Any:
        """Return what the upstream task returned."""
        return self.value


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", ["expand", "expand upstream", "expand_kwargs", "partial", "typed", "extra"])
def test_a_mapped_task_shows_no_secret(shape, way):
    """What Airflow stores of a mapped task's rendered fields, however the link came there and whatever it is in."""
    # All links in four of the cases: each is masked for the rest of the process, and each makes masking slower.
    for number, form in list(enumerate(LINKS))[(SHAPES.index(shape) + len(way)) % 4 :: 4]:
        # So a secret of its own for each case.
        secret = f"{number:x}{SHAPES.index(shape):x}{len(way):x}{way[-1]}{SECRET}"
        link_ = form.format(secret)
        shown = str(rendered_fields(shape(link_), way))
        assert "scale_factor" in shown
        assert secret not in shown, link_
        assert secret not in str(redact({"said": [f"asked {link_} in vain"]})), link_


def rendered_fields(value: Any, way: str) -> dict[str, Any]:
    """Return what Airflow stores of a mapped task to which a value was given in some way."""
    with DAG("mapped", schedule=None):
        before = EmptyOperator(task_id="before").output
        given = {"assets": {"image_file_path": value}, "scale_factor": 2}
        make = partial(MagicHourOperator.partial, task_id="make", tool="ai-image-upscaler")
        if way == "expand":
            mapped = make().expand(request=[given])
        elif way == "expand upstream":
            mapped = make().expand(request=before)
        elif way == "expand_kwargs":
            mapped = make().expand_kwargs([{"request": given}])
        elif way == "partial":
            mapped = make(request=given).expand(output_path=["/x"])
        elif way == "typed":
            typed = MagicHourAIImageUpscalerOperator.partial(task_id="make", scale_factor=2)
            mapped = typed.expand(assets=[given["assets"]])
        else:
            request = given | {"assets": {"image_file_path": "https://e.example/a.png"}}
            mapped = make(request=request, extra_request={"later": value}).expand(output_path=["/x"])
    ti = MappedTaskInstance([given])
    ti._upstream_map_indexes = {"before": None}
    context = ti.context(mapped) | {"run_id": "r", "expanded_ti_count": None, "dag": mapped.dag}
    context["dag_run"].conf = {}
    mapped.render_template_fields(context)
    fields: dict[str, Any] = _serialize_rendered_fields(context["task"])
    return fields


@pytest.mark.parametrize(
    "make",
    [
        lambda link: MagicHourUploadOperator(task_id="make", source=link),
        lambda link: MagicHourDownloadOperator(task_id="make", job={"kind": "image", "id": "a"}, output_path=link),
        lambda link: MagicHourDeleteOperator(task_id="make", job={"kind": "image", "id": "a", "file": [link]}),
        lambda link: MagicHourJobSensor(task_id="make", job={"kind": "image", "id": "a"}, output_path=link),
        lambda link: MagicHourOperator(
            task_id="make",
            tool="ai-image-generator",
            request={"image_count": 1, "style": {"prompt": "x"}},
            output_path=link,
        ),
    ],
)
def test_every_operator_hides_what_opens_a_link(make):
    """The operators for files and the sensor too: a password in an address, a token in a link."""
    for number, form in enumerate(LINKS):
        secret = f"{number:x}{SECRET}{make(LINKS[0]).__class__.__name__}"
        operator = make(form.format(secret))
        operator.render_template_fields(TaskInstance().context(operator))
        assert secret not in str(_serialize_rendered_fields(operator)), form


def test_a_template_that_cannot_be_rendered_is_logged_without_its_secret(caplog, capsys):
    """Airflow logs the template itself, before anything of it was rendered."""
    link_ = f"https://e.example/{{{{ 1 / 0 }}}}.png?token=broken{SECRET}"
    operator = MagicHourUploadOperator(task_id="make", source=link_)
    request = {"assets": {"image_file_path": link_}, "scale_factor": 2}
    other = MagicHourOperator(task_id="make", tool="ai-image-upscaler", request=request)
    for one in (operator, other):
        with pytest.raises(ZeroDivisionError):
            one.render_template_fields(TaskInstance().context(one))
    said = caplog.text + capsys.readouterr().out
    assert "Exception rendering Jinja template" in said
    assert f"broken{SECRET}" not in said
