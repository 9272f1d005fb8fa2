"""The agent's DAG, whole, against the simulator, with a model of our own: what it pays for, and what a retry pays."""

from __future__ import annotations

import pytest

pytest.importorskip("airflow.providers.common.ai")

from airflow.providers.common.ai.hooks.pydantic_ai import PydanticAIHook
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

SEASONS = ("spring", "summer", "autumn")


@pytest.fixture
def fails() -> list[bool]:
    """Whether the model breaks once, after its second picture."""
    return [False]


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch, fails: list[bool]) -> None:
    """A model that asks for the account first, and then for one picture of each season."""

    def reply(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        made = sum(
            part.tool_name == "magic_hour_make"
            for one in messages
            for part in one.parts
            if isinstance(part, ToolReturnPart)
        )
        assert {tool.name for tool in info.function_tools} > {"magic_hour_make", "magic_hour_get_account"}
        if len(messages) == 1:
            return ModelResponse(parts=[ToolCallPart("magic_hour_get_account", {})])
        if made == 2 and fails[0]:
            fails[0] = False
            raise ConnectionError("the model is away")
        if made == len(SEASONS):
            return ModelResponse(parts=[TextPart("Three seasons.")])
        request = {"style": {"prompt": f"a backpack in {SEASONS[made]}"}}
        call = {"tool": "ai-image-generator", "request": request}
        return ModelResponse(parts=[ToolCallPart("magic_hour_make", call)])

    monkeypatch.setattr(PydanticAIHook, "get_conn", lambda hook: FunctionModel(reply))
    monkeypatch.setenv("AIRFLOW_CONN_PYDANTICAI_DEFAULT", '{"conn_type": "pydanticai", "password": "none"}')


def test_three_pictures_are_made_within_the_limit(magic_hour_simulator, load_example, returned, tmp_path):
    """Three jobs, their files in the folder of the run, and what they have cost."""
    dag = load_example("agent_with_a_budget")["dag"]
    run = dag.test(run_conf={"results": str(tmp_path)})
    assert run.state == "success"
    assert returned(run, "report") == "3 pictures for 15 credits: Three seasons."
    assert magic_hour_simulator.stats()["creates"]["accepted"] == 3
    assert len(list((tmp_path / run.run_id).glob("*.png"))) == 3


def test_a_run_after_a_broken_one_pays_for_what_is_missing(magic_hour_simulator, load_example, fails, tmp_path):
    """The model breaks after two pictures; with the same folder the next run returns these two, and pays for one."""
    dag = load_example("agent_with_a_budget")["dag"]
    pictures = dag.get_task("pictures")
    pictures.retries, pictures.output_path = 0, str(tmp_path)
    fails[0] = True
    assert dag.test().state == "failed"
    assert magic_hour_simulator.stats()["creates"]["accepted"] == 2
    assert dag.test().state == "success"
    assert magic_hour_simulator.stats()["creates"]["accepted"] == 3
