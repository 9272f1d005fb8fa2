"""What keeps a task's end on a worker: each of these is done there, and nowhere else."""

from __future__ import annotations

import functools
import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.trigger import Trigger
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, BaseOperatorLink, XCom
from airflow.sdk import Asset, AssetAlias, task, task_group
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.execution_time import task_runner, xcom
from airflow.sdk.execution_time.comms import DeferTask, _RequestFrame

from helpers.attempts import Connected
from helpers.ending import Triggerer
from magic_hour_provider import airflow_internals
from magic_hour_provider.airflow_internals import TASK_PLACES
from magic_hour_provider.operators.magic_hour import MagicHourOperator
from magic_hour_provider.operators.video import MagicHourTextToVideoOperator
from magic_hour_provider.triggers.job import MagicHourJobTrigger

VIDEO = {"end_seconds": 3, "style": {"prompt": "a lighthouse"}}


@pytest.fixture
def triggerer(airflow: Connected, monkeypatch: pytest.MonkeyPatch) -> Triggerer:
    """A triggerer that may end tasks."""
    return Triggerer(airflow, monkeypatch)


def ends_itself(triggerer: Triggerer, operator: Any) -> bool:
    """Whether the trigger of an attempt's deferral may end the task; the attempt has one create."""
    before = triggerer.airflow.creates()
    deferred = triggerer.defer(operator)
    assert triggerer.airflow.creates() == before + 1
    return deferred.trigger.task_end is not None


class Own(MagicHourOperator):
    """A user's own class, which changes no step."""


class OwnEnd(MagicHourOperator):
    """A user's own class, which does more when the job is complete."""

    def execute_complete(self, *args: Any, **kwargs: Any) -> Any:
        """Do more."""
        return super().execute_complete(*args, **kwargs)


class OwnHook(MagicHourOperator):
    """A user's own class, which does more after the task."""

    def post_execute(self, context: Any, result: Any = None) -> None:
        """Do more."""


class WrappedEnd(MagicHourOperator):
    """A user's own class, whose step bears the names of ours."""

    @functools.wraps(MagicHourOperator.execute_complete)
    def execute_complete(self, *args: Any, **kwargs: Any) -> Any:
        """Do more."""
        return super().execute_complete(*args, **kwargs)


class WrappedMixin:
    """A user's own step beside the operator."""

    @functools.wraps(MagicHourOperator.post_execute)
    def post_execute(self, context: Any, result: Any = None) -> None:
        """Do more."""


class MixedIn(WrappedMixin, MagicHourOperator):
    """A user's own class, which has that step."""


class Link(BaseOperatorLink):
    """A link beside ours."""

    name = "Another"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Lead nowhere."""
        return ""


class LinkedOperator(MagicHourOperator):
    """A user's own class with a link of its own."""

    operator_extra_links = (*MagicHourOperator.operator_extra_links, Link())


def do_nothing(*_: Any) -> None:
    """Be a callback."""


@pytest.mark.parametrize(
    "options",
    [
        {"outlets": [Asset("s3://bucket/x")]},
        {"outlets": [AssetAlias("x")]},
        {"on_success_callback": do_nothing},
        {"on_execute_callback": do_nothing},
        {"pre_execute": do_nothing},
        {"post_execute": do_nothing},
        {"do_xcom_push": False},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_a_task_may_have(triggerer, options):
    """Outlets, callbacks, hooks and a result that is not pushed."""
    assert not ends_itself(triggerer, triggerer.operator(**options))


def test_a_setting_that_cannot_be_read(triggerer, airflow):
    """It is found before anything is paid for; a job that is paid for is waited for all the same."""
    airflow.setting("end_from_trigger", "perhaps")
    with pytest.raises(AirflowFailException, match="A setting of Airflow cannot be read"):
        triggerer.defer(triggerer.operator())
    assert airflow.creates() == 0
    airflow.setting("end_from_trigger", "True")
    operator = triggerer.operator()
    assert triggerer.defer(operator).trigger.task_end is not None
    airflow.setting("end_from_trigger", "perhaps")
    assert triggerer.defer(operator).trigger.task_end is None
    assert airflow.creates() == 1


def test_files(triggerer, airflow):
    """A folder for the files."""
    assert not ends_itself(triggerer, triggerer.operator(output_path=str(airflow.output)))


@pytest.mark.parametrize(
    ("of", "is_ended"),
    [
        (MagicHourOperator, True),
        (Own, True),
        (OwnEnd, False),
        (OwnHook, False),
        (WrappedEnd, False),
        (MixedIn, False),
        (LinkedOperator, False),
    ],
)
def test_a_class_of_ones_own(triggerer, of, is_ended):
    """Only a class whose steps at the end are ours, as no other runs in the triggerer."""
    with DAG("teaser", schedule=None):
        operator = of(task_id="make", tool="text-to-video", request=VIDEO, output_path="")
    assert ends_itself(triggerer, operator) is is_ended


@pytest.mark.parametrize("name", ["execute", "execute_complete", "resume_execution", "pre_execute", "post_execute"])
@pytest.mark.parametrize("of", ["task", "class"])
def test_a_step_that_was_set(triggerer, monkeypatch, name, of):
    """On the task, as a cluster policy may do, or on our class: a worker runs it."""
    operator = triggerer.operator()
    real = getattr(MagicHourOperator if of == "class" else operator, name)

    def own(*args: Any, **kwargs: Any) -> Any:
        return real(*args, **kwargs)

    monkeypatch.setattr(MagicHourOperator if of == "class" else operator, name, own)
    assert not ends_itself(triggerer, operator)


def test_a_step_that_was_set_runs(triggerer):
    """The worker that ends the task runs it, once."""
    operator, seen = triggerer.operator(), []
    real = operator.execute_complete

    @functools.wraps(real)
    def own(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs)
        return real(*args, **kwargs)

    operator.execute_complete = own
    assert triggerer.attempt(operator) == "worker"
    assert len(seen) == 1
    assert triggerer.airflow.creates() == 1


@pytest.mark.parametrize("is_decorated", [False, True])
def test_typed_and_decorated_tasks(triggerer, is_decorated):
    """They are the operator's, so they end as it does."""
    with DAG("teaser", schedule=None):

        @task.magic_hour(tool="text-to-video", output_path="")
        def make() -> dict[str, Any]:
            return VIDEO

        if is_decorated:
            operator = make().operator
        else:
            operator = MagicHourTextToVideoOperator(task_id="make", output_path="", **VIDEO)
    assert ends_itself(triggerer, operator)


@pytest.mark.parametrize("how", ["task", "group", "not mapped"])
def test_a_task_that_maps_over_the_result(triggerer, how):
    """A mapped task, or a task in a mapped group: Airflow records the length that it maps over on the worker alone."""
    operator = triggerer.operator()
    with operator.get_dag():

        @task
        def show(value: Any) -> None:
            """Use it."""

        @task_group
        def group(value: Any) -> None:
            show(value)

        {"task": show.expand, "group": group.expand, "not mapped": show}[how](value=operator.output)
    assert ends_itself(triggerer, operator) is (how == "not mapped")


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("magic_hour", "end_from_trigger", "False"),
        ("state_store", "clear_on_success", "True"),
        ("traces", "otel_on", "True"),
    ],
)
def test_settings(triggerer, monkeypatch, section, name, value):
    """Ours, and those of Airflow by which a worker does more."""
    monkeypatch.setenv(f"AIRFLOW__{section.upper()}__{name.upper()}", value)
    assert not ends_itself(triggerer, triggerer.operator())


def test_an_xcom_backend(triggerer, monkeypatch):
    """It keeps values where only a worker writes them."""
    assert XCom is BaseXCom
    monkeypatch.setattr(xcom, "XCom", type("Backend", (BaseXCom,), {}))
    assert not ends_itself(triggerer, triggerer.operator())


def test_a_listener(triggerer, monkeypatch):
    """OpenLineage's is one: it hears of a task's end on its worker."""
    monkeypatch.setattr(task_runner, "get_listener_manager", lambda: SimpleNamespace(has_listeners=True))
    assert not ends_itself(triggerer, triggerer.operator())


def test_a_template_of_the_map_index(triggerer, monkeypatch):
    """Airflow renders it when the task has its result."""
    context = type(triggerer.ti).context
    monkeypatch.setattr(
        type(triggerer.ti), "context", lambda ti, operator: context(ti, operator) | {"map_index_template": "{{ x }}"}
    )
    assert not ends_itself(triggerer, triggerer.operator())


@pytest.mark.parametrize("comms", [None, type("InProcessSupervisorComms", (), {})()])
def test_a_test_command(triggerer, monkeypatch, comms):
    """It runs the trigger in its own process, which cannot end a task."""
    if comms is None:
        monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS")
    else:
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms)
    assert not ends_itself(triggerer, triggerer.operator())


@pytest.mark.parametrize("name", ["SetXCom", "get_listener_manager", "task_runner"])
def test_an_airflow_that_lacks_a_name(triggerer, monkeypatch, caplog, name):
    """A worker ends the task, and one line says why."""
    monkeypatch.setitem(TASK_PLACES, name, ("airflow.moved_away", TASK_PLACES[name][1]))  # type: ignore[arg-type]
    monkeypatch.setattr(airflow_internals, "_logged", set())
    assert not ends_itself(triggerer, triggerer.operator())
    assert [line for line in caplog.messages if "airflow.moved_away" in line and "ending tasks" in line]


def test_a_task_without_a_dag(triggerer, airflow, caplog):
    """What cannot be found out is left to a worker."""
    operator = airflow.operator("text-to-video", VIDEO, output_path="")
    assert not ends_itself(triggerer, operator)
    assert "could not be found out" in caplog.text


@pytest.mark.parametrize(
    "extra",
    [
        {"seed": 2**64},
        {"__classname__": "x"},
        {"__type": "set", "__var": [1]},
        {"deep": json.loads("[" * 300 + "]" * 300)},
    ],
    ids=["number", "reserved name", "old name", "depth"],
)
def test_a_request_that_is_no_argument_of_a_trigger(triggerer, extra):
    """The task is paid for by then, so it is deferred whatever its request holds, and its trigger is what it was."""
    deferred = triggerer.defer(triggerer.operator(extra_request=extra))
    classpath, arguments = deferred.trigger.serialize()
    arguments = pytest.importorskip("airflow.sdk.serde").serialize(arguments)  # before Airflow 3.3 it is elsewhere
    message = DeferTask(classpath=classpath, trigger_kwargs=arguments, next_method="execute_complete", next_kwargs={})
    assert _RequestFrame(id=1, body=message.model_dump()).as_bytes()
    stored = Trigger._decrypt_kwargs(json.dumps(arguments))
    assert MagicHourJobTrigger(**stored).serialize() == deferred.trigger.serialize()
    assert triggerer.airflow.creates() == 1
