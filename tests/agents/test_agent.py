"""An agent that pays: each request once, within its limit, stopped where it is unknown what a request has cost."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("airflow.providers.common.ai")

from airflow.providers.common.ai.hooks.pydantic_ai import PydanticAIHook
from airflow.providers.common.ai.toolsets.hook import HookToolset
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException
from airflow.sdk.execution_time.context import set_current_context
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

from helpers.attempts import Connected, TaskInstance
from magic_hour_provider.agents.operator import FREE_METHODS, MagicHourAgentHook, MagicHourAgentOperator
from magic_hour_provider.agents.paying_task import PayingTask
from magic_hour_provider.api.client import MagicHourClient
from magic_hour_provider.api.errors import InvalidInputError
from magic_hour_provider.batch.records.records import ItemRecords
from magic_hour_provider.execution.payment.run_activity import find_paying_tasks
from magic_hour_provider.hooks.magic_hour import MagicHourHook
from magic_hour_provider.ledger.instruction import Instruction

PRICE = 5
PRICED = {"image_count": 1, "model": "flux-schnell", "resolution": "640px"}


def picture(prompt: str = "a lighthouse", **more: Any) -> dict[str, Any]:
    """Return a call of the tool that pays, for one picture."""
    return {"tool": "ai-image-generator", "request": PRICED | {"style": {"prompt": prompt}, **more}}


class Agents:
    """Runs attempts of an agent whose model asks for what a test says, one call after another."""

    def __init__(self, airflow: Connected) -> None:
        self.airflow, self.folder = airflow, airflow.output / "agent"
        self.calls: list[Any] = []
        self.answers: list[dict[str, Any]] = []
        self.runs = 0

    def model(self, messages: list[ModelMessage], _: Any) -> ModelResponse:
        """Ask for the next call of the list; at the end, say so."""
        returned = [part for one in messages for part in one.parts if isinstance(part, ToolReturnPart)]
        self.answers = [json.loads(one.content) for one in returned]
        if not returned:
            self.runs += 1
        step = self.calls[len(self.answers) :][:1]
        call = step[0](self.answers) if step and callable(step[0]) else next(iter(step), None)
        return ModelResponse(parts=[TextPart("done") if call is None else ToolCallPart("magic_hour_make", call)])

    def operator(self, **options: Any) -> MagicHourAgentOperator:
        """Make the task."""
        options = {
            "task_id": "agent",
            "prompt": "make a picture",
            "llm_conn_id": "llm",
            "tools": ["ai-image-generator", "image-to-video"],
            "output_path": str(self.folder),
            "max_credits": 100,
        } | options
        return MagicHourAgentOperator(**options)

    def attempt(self, ti: TaskInstance, *calls: Any, **options: Any) -> list[dict[str, Any]]:
        """Run an attempt in which the model makes these calls, and return what it was answered."""
        self.calls, self.answers = list(calls), []
        ti.next_attempt()
        operator = self.operator(**options)
        context = ti.context(operator) | {"task_instance": ti}
        with set_current_context(context):
            assert operator.execute(context) == "done"
        return self.answers

    def creates(self) -> int:
        """How many paid requests the simulator accepted."""
        return self.airflow.creates()


@pytest.fixture
def agents(airflow: Connected, monkeypatch: pytest.MonkeyPatch) -> Agents:
    """Agents with a model of our own: no network."""
    one = Agents(airflow)
    monkeypatch.setenv("AIRFLOW_CONN_LLM", '{"conn_type": "pydanticai", "password": "none"}')
    monkeypatch.setattr(PydanticAIHook, "get_conn", lambda hook: FunctionModel(one.model))
    return one


@pytest.fixture
def ti() -> TaskInstance:
    """The agent's task instance."""
    return TaskInstance("agent")


def test_a_request_is_paid_for_once(agents, ti):
    """Asked for twice in one attempt, in a retry and in another run with the same folder, it is one job."""
    first, second = agents.attempt(ti, picture(), picture())
    assert (first["status"], first["credits_charged"], agents.creates()) == ("complete", PRICE, 1)
    assert second == first
    assert [Path(uri).is_file() for uri in first["files"]] == [True]
    (again,) = agents.attempt(ti, picture())
    other = TaskInstance("agent")
    other.run_id = "manual__of-another-run"
    (elsewhere,) = agents.attempt(other, picture())
    assert [again["id"], elsewhere["id"], elsewhere["credits_spent"]] == [first["id"], first["id"], 0]
    assert agents.creates() == 1


def test_an_agent_whose_files_go_to_azure(agents, ti, cloud_place):
    """Its library leaves the thread with an event loop that another thread runs, and the agent runs all the same."""
    with contextmanager(cloud_place)("abfs") as place:
        for _ in range(2):
            (made,) = agents.attempt(ti, picture(), output_path=place.uri)
            assert (made["status"], made["credits_charged"], agents.creates()) == ("complete", PRICE, 1)
        assert len([name for name in place.names() if name.endswith(".png")]) == 1


def test_what_others_read_of_it(agents, ti):
    """While it runs it reserves what it may still spend; at its end it has reserved nothing, and all is counted."""
    seen = []

    def watch(_: Any) -> dict[str, Any]:
        seen.append(ti.xcoms["magic_hour_batch"]["run_credits"])
        return picture("a second one")

    agents.attempt(ti, watch, picture(), watch)
    assert [(one["paid"], one["reserved"]) for one in seen] == [(0, 100), (2 * PRICE, 90)]
    report = ti.xcoms["magic_hour_batch"]
    assert (report["items"], report["complete"], report["credits_charged"]) == (2, 2, 2 * PRICE)
    assert report["run_credits"] == {"paid": 2 * PRICE, "reserved": 0, "is_known": True, "map_index": -1}
    assert agents.creates() == 2


def test_its_limit_holds_over_all_tries(agents, ti):
    """What would pass it is refused with a reason, and the agent may finish; a retry has no new limit."""
    limit = {"max_credits": 2 * PRICE + 1}
    *_, refused = agents.attempt(ti, picture("one"), picture("two"), picture("three"), **limit)
    assert (refused["status"], refused["credits_spent"]) == ("refused", 2 * PRICE)
    assert "max_credits=11" in refused["message"]
    again, refused = agents.attempt(ti, picture("two"), picture("four"), **limit)
    assert (again["status"], refused["status"], agents.creates()) == ("complete", "refused", 2)


def lose(agents: Agents, ti: TaskInstance) -> str:
    """Run an attempt whose response is lost, and return the job's id."""
    agents.airflow.sim.inject_fault("close-after-accept")
    with pytest.raises(AirflowFailException, match="unknown whether a job was created"):
        agents.attempt(ti, picture(), picture("another"))
    assert agents.creates() == 1
    return agents.airflow.sim.jobs()[0]["id"]


def test_a_lost_response_stops_the_agent(agents, ti):
    """It is not answered, and no attempt after it begins, whatever it would ask for; the error says what to do."""
    lose(agents, ti)
    assert ti.xcoms["magic_hour_batch"]["charge"] == "unknown"
    assert agents.answers == []
    for _ in range(2):
        with pytest.raises(AirflowFailException, match="--item request--v1"):
            agents.attempt(ti, picture("something else"))
    assert (agents.runs, agents.creates()) == (1, 1)


@pytest.mark.parametrize("action", ["adopt", "regenerate"])
def test_a_person_decides_about_a_lost_response(agents, ti, action):
    """Then the agent runs again: the same request resumes the job that is named, or pays for one new job."""
    lost = lose(agents, ti)
    records = ItemRecords.open(str(agents.folder))
    ((key, state),) = records.load().items()
    records.instruct(key, state, Instruction(action, lost if action == "adopt" else None))
    ti.clear()
    (made,) = agents.attempt(ti, picture())
    assert (made["status"], made["id"] == lost) == ("complete", action == "adopt")
    assert agents.creates() == (1 if action == "adopt" else 2)


def test_a_request_of_a_killed_worker_stops_others(agents, ti, monkeypatch):
    """While it may be under way nothing else is paid for, and a retry may know more; later a person has to decide."""

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("magic_hour_provider.batch.jobs.submitter.submit_once", _declare_and(killed))
        with pytest.raises(BaseException):  # noqa: B017 (whatever the agent's loop makes of it)
            agents.attempt(ti, picture())
    with pytest.raises(AirflowException, match="may still be under way") as raised:
        agents.attempt(ti, picture("something else"))
    assert not isinstance(raised.value, AirflowFailException)
    agents.airflow.clock.sleep(3600)
    with pytest.raises(AirflowFailException, match="unknown whether a job was created"):
        agents.attempt(ti, picture("something else"))
    assert agents.creates() == 0


def _declare_and(then: Callable[..., None]) -> Callable[..., None]:
    def submit(intent: Any, *_: Any, **__: Any) -> None:
        intent.write()
        then()

    return submit


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ({"tool": "face-swap", "request": {}}, "the tools are ai-image-generator, image-to-video"),
        ({"tool": "ai-image-generator", "request": {"image_count": 1}}, "style"),
        (picture("x", image_count="many"), "image_count"),
        ({"tool": "image-to-video", "request": {"assets": {"image_file_path": "/etc/hostname"}}}, "image_file_path"),
        (
            {
                "tool": "image-to-video",
                "request": {"end_seconds": 5, "assets": {"image_file_path": {"saved_item": "No", "type": "character"}}},
            },
            "no saved item",
        ),
    ],
)
def test_what_cannot_be_sent_is_refused_for_free(agents, ti, call, why):
    """The model is answered what is wrong, and may ask again in another way."""
    refused, made = agents.attempt(ti, call, picture())
    assert refused["status"] == "refused"
    assert why in refused["message"]
    assert "nothing was charged" in refused["message"]
    assert (made["status"], agents.creates()) == ("complete", 1)


@pytest.mark.parametrize("climbs", [False, True])
def test_a_file_of_a_worker_is_never_sent(agents, ti, tmp_path, climbs):
    """A prompt cannot have the agent send a picture that lies elsewhere, however its path is written."""
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"\x89PNG\r\n\x1a\n")
    given = f"{agents.folder}/../../{secret.name}" if climbs else str(secret)
    call = {"tool": "image-to-video", "request": {"end_seconds": 5, "assets": {"image_file_path": given}}}
    (refused,) = agents.attempt(ti, call)
    assert (refused["status"], agents.creates(), agents.airflow.sim.stats()["uploads"]) == ("refused", 0, 0)


def test_what_nobody_knows_the_price_of_is_refused(agents, ti):
    """Each request would be the first one of its price, and all of them together could pass the limit."""
    unpriced = {"image_count": 1, "style": {"prompt": "x"}}
    (refused,) = agents.attempt(ti, {"tool": "ai-image-generator", "request": unpriced})
    assert (refused["status"], agents.creates()) == ("refused", 0)
    assert "Name its model" in refused["message"]
    (made,) = agents.attempt(ti, {"tool": "ai-image-generator", "request": unpriced}, extra_request=PRICED)
    assert (made["status"], made["credits_charged"], agents.creates()) == ("complete", PRICE, 1)


def test_a_file_that_it_has_made_is_used_again(agents, ti):
    """What was returned may be given to the next tool."""

    def animate(answers: list[dict[str, Any]]) -> dict[str, Any]:
        assets = {"image_file_path": answers[0]["files"][0]}
        request = {"end_seconds": 5, "model": "wan-2.2", "resolution": "480p", "assets": assets}
        return {"tool": "image-to-video", "request": request}

    _, clip = agents.attempt(ti, picture(), animate, max_credits=1000)
    assert (clip["status"], Path(clip["files"][0]).suffix, agents.creates()) == ("complete", ".mp4", 2)


def test_a_job_that_fails_is_an_answer(agents, ti):
    """The agent is answered what is wrong with its request; nothing stays charged, and nothing is tried again."""
    failed, again = agents.attempt(ti, picture("[[final-status:error]] x"), picture("[[final-status:error]] x"))
    assert (failed["status"], again["status"], failed["credits_spent"]) == ("failed", "failed", 0)
    assert failed["message"]
    assert agents.creates() <= 2
    assert ti.xcoms["magic_hour_batch"]["failed"] == 1


def test_a_job_that_takes_long_is_waited_for_again(agents, ti):
    """It is running for the model, and the same request waits again: it is one job."""
    agents.airflow.sim.inject_fault("job-duration", seconds=400)
    first, second = agents.attempt(ti, picture(), picture(), timeout=300)
    assert (first["status"], second["status"], agents.creates()) == ("running", "complete", 1)
    assert first["id"] == second["id"]


def test_calls_side_by_side_see_what_each_other_pays(agents, ti):
    """Of frameworks that call tools in several threads: one at a time, so that the limit holds and none is twice."""
    ti.next_attempt()
    operator = agents.operator(max_credits=2 * PRICE)
    answers = []
    prompts = ["one", "one", "two", "three"]
    with operator.paying(ti.context(operator)):
        threads = [
            threading.Thread(target=lambda text=text: answers.append(operator.make(**picture(text))))
            for text in prompts
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(one["status"] for one in answers) in (
        ["complete"] * 3 + ["refused"],
        ["complete"] * 2 + ["refused"] * 2,
    )
    assert agents.creates() == 2


def test_a_killed_agent_pays_for_nothing_more(agents, ti):
    """What is asked for after the signal is not sent."""
    ti.next_attempt()
    operator = agents.operator()
    with operator.paying(ti.context(operator)):
        operator.make(**picture())
        operator.on_kill()
        with pytest.raises(AirflowException, match="stopped before"):
            operator.make(**picture("two"))
    assert agents.creates() == 1


def test_an_agent_that_ends_in_the_middle_of_its_calls(agents, ti, monkeypatch):
    """By its task's timeout, say: what is being sent is recorded before the process may end, and no other call pays."""
    ti.next_attempt()
    operator, sending, both = agents.operator(), threading.Event(), threading.Barrier(3)
    create, make, failures = MagicHourClient.create, PayingTask.make, []

    def send_late(*given: Any) -> Any:
        sending.set()
        threading.Event().wait(0.5)
        return create(*given)

    def call(text: str) -> None:
        both.wait()
        try:
            make(operator, **picture(text))
        except AirflowException as error:
            failures.append(error)

    monkeypatch.setattr(MagicHourClient, "create", send_late)
    threads = [threading.Thread(target=call, args=(text,)) for text in ("one", "two")]

    def run() -> None:
        with operator.paying(ti.context(operator)):
            for thread in threads:
                thread.start()
            both.wait()
            sending.wait()
            raise TimeoutError

    with pytest.raises(TimeoutError):
        run()
    assert [one.status for one in ItemRecords.open(str(agents.folder)).load().values()] == ["job"]
    for thread in threads:
        thread.join()
    assert (len(failures), agents.creates()) == (1, 1)
    assert ti.xcoms["magic_hour_batch"]["run_credits"] == {
        "paid": PRICE,
        "reserved": 0,
        "is_known": True,
        "map_index": -1,
    }


def test_only_its_own_task_may_pay(agents, ti):
    """The hook that pays does not in a task without folder and limit, nor outside a task."""
    with pytest.raises(RuntimeError, match="no context"):
        MagicHourAgentHook().make(**picture())
    plain = agents.airflow.operator()
    with set_current_context(ti.context(plain)), pytest.raises(TypeError, match="MagicHourAgentOperator"):
        MagicHourAgentHook().make(**picture())
    assert agents.creates() == 0


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"tools": "ai-image-generator"}, "list"),
        ({"tools": ["ai-image-generater"]}, "ai-image-generator"),
        ({"output_path": ""}, "output_path"),
        ({"output_path": "/data/{{ ti.try_number }}"}, "differs from attempt to attempt"),
        ({"max_credits": None}, "max_credits"),
        ({"max_credits": "5"}, "max_credits"),
    ],
)
def test_mistakes_are_found_at_parsing(agents, options, why):
    """Folder and limit are obligatory, and tools are known."""
    with pytest.raises(InvalidInputError, match=why):
        agents.operator(**options)


def test_other_tasks_of_its_run_know_that_it_pays():
    """The limit of a run, and the comparison of balances, take it for a batch."""
    from airflow.sdk import DAG

    with DAG("d") as dag:
        one = MagicHourAgentOperator(
            task_id="a", prompt="p", llm_conn_id="l", tools=["lip-sync"], output_path="/tmp/x", max_credits=1
        )
    assert list(find_paying_tasks(one)) == [one]
    assert one.is_batch
    assert dag.task_ids == ["a"]


def test_the_free_methods_are_tools_of_any_agent(airflow):
    """Each says what it does and takes; what it returns holds no link that is a secret, and costs nothing."""
    toolset = HookToolset(MagicHourHook(), allowed_methods=list(FREE_METHODS), tool_prefix="magic_hour")

    class Run:
        max_retries = 1

    tools = asyncio.run(toolset.get_tools(Run()))  # type: ignore[arg-type]
    assert len(tools) == len(FREE_METHODS)
    for name, tool in tools.items():
        assert "free" in (tool.tool_def.description or ""), name
        for parameter in tool.tool_def.parameters_json_schema["properties"].values():
            assert parameter["description"]
            assert parameter.keys() > {"description"}
    hook = MagicHourHook()
    said = [
        hook.get_account(),
        hook.list_saved_items(),
        hook.list_saved_items("voice"),
        hook.describe_tool("image-to-video"),
        hook.estimate("ai-image-generator", picture()["request"]),
    ]
    assert said[0]["credits"] > 0
    assert len(said[1]) > len(said[2]) > 0
    assert said[3]["files"][0]["field"] == "assets.image_file_path"
    job = airflow.sim.jobs()
    assert job == []
    made = airflow.attempt(airflow.operator(), TaskInstance())
    said.append(hook.get_job(made["kind"], made["id"]))
    assert said[-1]["status"] == "complete"
    assert "X-Amz" not in json.dumps(said)
    assert "http" not in json.dumps(said[1])
    assert airflow.creates() == 1
