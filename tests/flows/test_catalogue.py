"""What holds for every procedure: the operator's page, the form, its deployment, and looking again on resuming."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import yaml
from prefect import Flow, Task
from prefect.cache_policies import NO_CACHE
from prefect.utilities.callables import parameter_schema
from pydantic import BaseModel
from support import ROOT

import flows
import tasks
from deployments.procedures import PLANS
from rollback.plans import Plan

HEADINGS = ["Trigger", "Preconditions", "Steps", "Undo", "Targets", "Approver", "Triage notes"]


def modules_of(package: object) -> list[object]:
    path, name = package.__path__, package.__name__
    return [importlib.import_module(f"{name}.{each.name}") for each in pkgutil.iter_modules(path)]


PROCEDURES = [
    pytest.param(module, flow, id=flow.name)
    for module in modules_of(flows)
    for flow in vars(module).values()
    if isinstance(flow, Flow)
]
STEPS = [
    pytest.param(task, id=task.name)
    for module in modules_of(tasks)
    for task in vars(module).values()
    if isinstance(task, Task)
]


@pytest.mark.parametrize(("module", "flow"), PROCEDURES)
def test_a_procedures_page_has_every_heading_in_order(module: object, flow: Flow) -> None:
    page = (module.__doc__ or "").splitlines()
    assert [line.rstrip(":") for line in page if line.rstrip(":") in HEADINGS] == HEADINGS


@pytest.mark.parametrize(("module", "flow"), PROCEDURES)
def test_a_procedures_file_has_its_name(module: object, flow: Flow) -> None:
    assert module.__name__ == f"flows.{flow.name.replace('-', '_')}"


@pytest.mark.parametrize(("module", "flow"), PROCEDURES)
def test_every_field_of_a_procedures_form_says_what_it_is_for(module: object, flow: Flow) -> None:
    for name, field in flow.parameters.properties.items():
        assert field.get("description"), name


@pytest.mark.parametrize(("module", "flow"), PROCEDURES)
def test_a_procedure_has_a_target_a_time_limit_and_persists_nothing(module: object, flow: Flow) -> None:
    assert module.RTO_TARGET_SECONDS > 0
    assert flow.timeout_seconds
    assert flow.persist_result is False


@pytest.mark.parametrize(("module", "flow"), PROCEDURES)
def test_a_procedure_is_deployed_under_its_own_name_by_module(module: object, flow: Flow) -> None:
    content = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text(encoding="utf-8"))
    deployed = {each["name"]: each["entrypoint"] for each in content["deployments"]}
    assert deployed[flow.name] == f"{module.__name__}:{flow.fn.__name__}"


@pytest.mark.parametrize(("module", "flow"), PROCEDURES)
def test_a_procedure_has_the_tag_by_which_the_runs_of_a_lost_machine_are_found(module: object, flow: Flow) -> None:
    content = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text(encoding="utf-8"))
    automations = yaml.safe_load((ROOT / "deployments" / "automations.yaml").read_text(encoding="utf-8"))
    tags = {each["name"]: each["tags"] for each in content["deployments"]}
    for automation in automations:
        assert automation["trigger"]["match_related"]["prefect.resource.id"] == "prefect.tag.rollback"
    assert "rollback" in tags[flow.name]


@pytest.mark.parametrize("task", STEPS)
def test_a_step_persists_nothing_and_caches_nothing(task: Task) -> None:
    assert task.persist_result is False
    assert task.cache_policy is NO_CACHE


def test_every_file_of_flows_is_a_procedure() -> None:
    files = {each.stem for each in Path(flows.__path__[0]).glob("*.py")} - {"__init__"}
    assert files == {module.values[0].__name__.split(".")[1] for module in PROCEDURES}


@pytest.mark.parametrize(("module", "flow"), PROCEDURES)
def test_a_form_offers_the_environments_of_the_platform_file(module: object, flow: Flow) -> None:
    form = parameter_schema(flow.fn)
    assert form.properties["environment"]["enum"] == ["production", "staging", "dev"]


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """A model, and those that its fields are made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models_in(field.annotation)
    for each in get_args(annotation):
        yield from models_in(each)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_prefect_can_look_into_a_plan(plan: type[Plan]) -> None:
    # It takes whatever has `keys` for a dictionary.
    assert [each.__name__ for each in models_in(plan) if "keys" in each.model_fields] == []
