"""The graph of a catalogue task: preprocess, fine-tune, predict, judge, and register and deploy what passed."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kfp import dsl

from components._task_components import inputs_of, task_component
from components.core.catalogue.steps import VERBS
from components.core.catalogue.task_names import CORE_TASKS

# mypy cannot follow a folder whose name has a hyphen.
from .pods import Pods  # type: ignore[import-not-found]

_KINDS = {"str": str, "int": int, "float": float, "bool": bool}
Values = Mapping[str, Mapping[str, Any]]
"""Checked parameters by step, then by name; what is none is left out."""


class TaskResults(NamedTuple):
    """What a run leaves for its user."""

    preprocessed: dsl.Dataset
    model: dsl.Model
    predictions: dsl.Artifact
    evaluation: dsl.Artifact
    registration: dict


class DeployedResults(NamedTuple):
    """The same with the endpoint, which is empty when the gate refused the model."""

    preprocessed: dsl.Dataset
    model: dsl.Model
    predictions: dsl.Artifact
    evaluation: dsl.Artifact
    registration: dict
    endpoint: dict


def build_task_pipeline(task: str, values: Values, pods: Pods, deploy: bool, source_version: str = "") -> Any:
    """The graph of one task, ready to compile or to run; every parameter is an input of the pipeline.

    Args:
        task: The catalogue's name.
        values: Become the defaults of the inputs.
        pods: What the steps' pods ask for.
        deploy: Bring a model that passed online.
        source_version: What the rows' content was when the run was asked for, so that the cache notices a change.
    """
    verbs = VERBS if deploy else VERBS[:-1]
    components = {verb: task_component(verb, task) for verb in verbs}

    def graph(*given: Any) -> TaskResults | DeployedResults:
        inputs = dict(zip(names, given, strict=True))

        def call(verb: str, **more: Any) -> Any:
            return components[verb](**{name: inputs[name] for name in inputs_of(verb, task)}, **more)

        preprocessed = pods.small(call("preprocess", source_version=inputs["source_version"]))
        dataset = preprocessed.outputs["output_dir"]
        tuned = pods.tuning(call("finetune", dataset_path=dataset))
        model = tuned.outputs["output_dir"]
        predicted = pods.with_checkpoints(pods.large(call("inference", model_path=model, test_file=dataset)))
        found = predicted.outputs["output_dir"]
        judged = pods.large(call("evaluate", dataset_path=dataset, model_path=model, predictions=found))
        verdict, evaluation = judged.outputs["verdict"], judged.outputs["output_evaluation"]
        registered = pods.small(
            call("register", verdict=verdict, dataset_path=dataset, model_path=model, evaluation=evaluation)
        )
        registration = registered.outputs["registration"]
        results = (dataset, model, found, evaluation, registration)
        if not deploy:
            return TaskResults(*results)
        deployed = pods.small(call("deploy", registration=registration))
        # an endpoint that has gone since the last run is not in the cache
        deployed.set_caching_options(False)
        return DeployedResults(*results, deployed.outputs["endpoint"])

    parameters = list(_pipeline_inputs(task, verbs, values, source_version))
    names = [each.name for each in parameters]
    kind = DeployedResults if deploy else TaskResults
    graph.__signature__ = inspect.Signature(parameters, return_annotation=kind)  # type: ignore[attr-defined]
    description = f"Preprocess, fine-tune, predict and judge for the task {CORE_TASKS[task]}."
    return dsl.pipeline(name=f"{task}-pipeline".replace("_", "-"), description=description)(graph)


def _pipeline_inputs(
    task: str, verbs: tuple[str, ...], values: Values, source_version: str
) -> Iterator[inspect.Parameter]:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    seen: set[str] = set()
    for verb in verbs:
        for name, each in inputs_of(verb, task).items():
            # two steps that share a name mean the same thing by it
            if name in seen:
                continue
            seen.add(name)
            default = values[verb].get(name, "" if each.default in ("", inspect.Parameter.empty) else each.default)
            # what may be nothing is a text for a pipeline, a number too
            default = str(default) if each.type == "str" else default
            yield inspect.Parameter(name, kind, default=default, annotation=_KINDS[each.type])
    yield inspect.Parameter("source_version", kind, default=source_version, annotation=str)
