"""The graph of the LLMOps loop: infer, judge, decide, and while it goes on generate, merge, retrain, infer, ...

A pipeline has no loop whose length is not known, so every round is a pipeline of its own that holds the next one
behind the decision to go on: a round that is not needed starts nothing.
"""

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kfp import dsl

from components.core.loop.recipe import LoopRecipe
from components.decide_round import decide_round
from components.evaluate_model import evaluate_model
from components.fetch_dataset import fetch_dataset
from components.finetune_model import finetune_model
from components.generate_dataset import generate_dataset
from components.infer_responses import infer_responses
from components.judge_responses import judge_responses
from components.merge_datasets import merge_datasets
from components.qualify_model import qualify_model
from components.register_model import register_model
from components.tokenize_dataset import tokenize_dataset
from components.upload_model import upload_model

# mypy cannot follow a folder whose name has a hyphen.
from .pods import Pods  # type: ignore[import-not-found]
from .remote.steps import REFUSED_STEP  # type: ignore[import-not-found]

LOOP = "llmops-loop-pipeline"
TRAINING = ("task", "model", "data", "tokens", "training", "lora", "evaluation", "gate", "registry")
"""Sections of the retraining that are pipeline parameters."""
SECTIONS = ("reference", "loop", "inference", "judge", "data_gen", *TRAINING, "recipe_sections")
"""All parameters that are sections; `recipe_sections` is what the registry records."""
HANDED_ON = {
    "history": dsl.Input[dsl.Artifact],
    "judgements": dsl.Input[dsl.Dataset],
    "rows_before": int,
    "rows_left": int,
}
"""What a round gets from the one before, beside its training rows, which the base model has not."""
GATE = ("task", "model", "evaluation", "gate", "registry", "recipe_sections")
"""Sections that the end of a loop needs."""


class Outcome(NamedTuple):
    """What a loop leaves for its user."""

    outcome: dict
    registration: dict


@dataclass(frozen=True)
class _Round:
    """What the steps of one round leave for the next, and for the end."""

    decided: Any
    """Outputs of the decision."""
    judgements: Any
    dataset: Any = None
    merged: Any = None
    model_dir: Any = None

    def handed_on(self) -> dict[str, Any]:
        """What the next round needs of it, beside the training rows."""
        decided = self.decided
        found = {name: decided[name] for name in ("rows_before", "rows_left")}
        return {"history": decided["output_history"], "judgements": self.judgements, **found}


def build_loop_pipeline(recipe: LoopRecipe, pods: Pods, reference_version: str = "") -> Any:
    """The graph of a loop, ready to compile or to run.

    Args:
        recipe: All sections; the parameters' defaults are their values.
        pods: What the steps' pods ask for.
        reference_version: What the reference rows were when the run was asked for, so that the cache notices a change.
    """
    values = recipe.sections()
    defaults = {**{name: values[name] for name in SECTIONS[:-1]}, "recipe_sections": {n: values[n] for n in TRAINING}}
    graph = _Graph(pods)
    first = graph.round_from(1, recipe.loop.max_rounds) if recipe.loop.max_rounds else None

    def loop_pipeline(*given: Any) -> Outcome:
        sections = dict(zip((*SECTIONS, "reference_version"), given, strict=True))
        base = graph.judged(0, sections)
        with dsl.If(base.decided["decision"] == "passed", name="base-model-passed"):
            ends = [graph.closed(base)]
        if first is not None:
            with dsl.Elif(base.decided["decision"] == "continue", name="round-1"):
                ends.append(first(**sections, **base.handed_on()))
        with dsl.Else(name="base-model-refused"):
            ends.append(graph.closed(base, REFUSED_STEP))
            ends[-1].set_display_name(REFUSED_STEP)
        return _one_of(*ends)

    parameters = [_parameter(name, dict, defaults[name]) for name in SECTIONS]
    parameters.append(_parameter("reference_version", str, reference_version))
    description = "Infer, judge and, until the model is good enough, generate, merge and retrain."
    return dsl.pipeline(name=LOOP, description=description)(_with(loop_pipeline, parameters))


class _Graph:
    """Makes the rounds, the last one first: a pipeline may hold another one only when that is complete."""

    def __init__(self, pods: Pods) -> None:
        self.pods = pods

    def round_from(self, number: int, last: int) -> Any:
        """The pipeline of a round, with those after it inside."""
        next_one = self.round_from(number + 1, last) if number < last else None
        end = self._end(number)
        names = (*SECTIONS, "reference_version", *HANDED_ON)
        names += () if number == 1 else ("merged",)

        def a_round(*given: Any) -> Outcome:
            inputs = dict(zip(names, given, strict=True))
            sections = {name: inputs[name] for name in (*SECTIONS, "reference_version")}
            found = self.retrained(
                number, sections, {name: each for name, each in inputs.items() if name not in sections}
            )
            ended = {name: sections[name] for name in GATE}
            ended |= {
                "history": found.decided["output_history"],
                "dataset": found.dataset,
                "model_dir": found.model_dir,
            }
            if next_one is None:
                done = end(**ended)
                return Outcome(done.outputs["outcome"], done.outputs["registration"])
            with dsl.If(found.decided["decision"] == "continue", name=f"round-{number + 1}"):
                going_on = next_one(**sections, **found.handed_on(), merged=found.merged)
            with dsl.Else(name=f"end-{number}"):
                done = end(**ended)
            return _one_of(going_on, done)

        kinds = [_parameter(name, dict) for name in SECTIONS]
        kinds += [_parameter("reference_version", str)]
        kinds += [_parameter(name, kind) for name, kind in HANDED_ON.items()]
        kinds += [_parameter(name, dsl.Input[dsl.Dataset]) for name in names[len(kinds) :]]
        return dsl.pipeline(name=f"round-{number}")(_with(a_round, kinds))

    def judged(self, number: int, sections: Mapping[str, Any], **trained: Any) -> _Round:
        """Answer the test rows with a model, have them judged, and decide."""
        pods, of_round = self.pods, {"number": number}
        earlier = {name: trained[name] for name in ("history", "generated", "dataset") if name in trained}
        asked = {name: sections[name] for name in ("reference", "model", "inference", "reference_version")}
        asked |= {"model_dir": trained["model_dir"]} if trained else {}
        answered = pods.with_home(pods.large(_named(infer_responses, number)(**of_round, **asked)))
        responses = answered.outputs["output_responses"]
        scored = _named(judge_responses, number)(**of_round, judge=sections["judge"], responses=responses)
        judgements = pods.asking(scored).outputs["output_judgements"]
        decided = _named(decide_round, number)(**of_round, loop=sections["loop"], judgements=judgements, **earlier)
        kept = {name: trained.get(name) for name in ("dataset", "merged", "model_dir")}
        return _Round(pods.small(decided).outputs, judgements, **kept)

    def retrained(self, number: int, sections: Mapping[str, Any], before: Mapping[str, Any]) -> _Round:
        """Generate rows, train the base model on all there are, and judge what came of it.

        Args:
            number: Of the round.
            sections: All sections.
            before: What the round before handed on, its training rows as `merged`.
        """
        pods, named = self.pods, {name: sections[name] for name in ("task", "model")}
        of_reference = {name: sections[name] for name in ("reference", "reference_version")}
        of_reference |= {"rows": before["merged"]} if "merged" in before else {}
        asked = {name: before[name] for name in ("judgements", "rows_before", "rows_left")}
        made = _named(generate_dataset, number)(number=number, data_gen=sections["data_gen"], **of_reference, **asked)
        generated = pods.asking(made).outputs["output_generated"]
        merged = pods.small(_named(merge_datasets, number)(generated=generated, **of_reference)).outputs[
            "output_merged"
        ]
        # the merged rows say themselves when they change
        prepared = {"task": named["task"], "data": sections["data"], "source_version": "", "rows": merged}
        dataset = pods.small(_named(fetch_dataset, number)(**prepared)).outputs["output_dataset"]
        tokenized = _named(tokenize_dataset, number)(**named, tokens=sections["tokens"], dataset=dataset)
        tokens = pods.small(tokenized).outputs["output_tokens"]
        taught = {name: sections[name] for name in ("training", "lora")}
        tuned = pods.tuning(_named(finetune_model, number)(**named, **taught, tokens=tokens))
        trained = {"history": before["history"], "generated": generated, "dataset": dataset, "merged": merged}
        return self.judged(number, sections, **trained, model_dir=tuned.outputs["output_model_dir"])

    def closed(self, base: _Round, name: str | None = None) -> Any:
        """The end of a loop that trained nothing."""
        return self.pods.small(_named(qualify_model, 0, name)(history=base.decided["output_history"]))

    def _end(self, number: int) -> Any:
        """The pipeline that compares a round's model with its base, and registers it where it may stand in."""
        pods = self.pods
        names = (*GATE, "history", "dataset", "model_dir")

        def end(*given: Any) -> Outcome:
            inputs = dict(zip(names, given, strict=True))
            dataset, model_dir = inputs["dataset"], inputs["model_dir"]
            gate = {name: inputs[name] for name in GATE[:-1]}
            judged = pods.large(_named(evaluate_model, number)(**gate, dataset=dataset, tuned_model=model_dir))
            qualified = pods.small(
                _named(qualify_model, number)(history=inputs["history"], evaluation=judged.outputs["output_evaluation"])
            )
            found = {
                "recipe": inputs["recipe_sections"],
                "dataset": dataset,
                "model_dir": model_dir,
                "evaluation": qualified.outputs["output_evaluation"],
            }
            register = _named(register_model, number)
            with dsl.If(qualified.outputs["verdict"] == "passed", name="qualified"):
                uploaded = pods.small(_named(upload_model, number)(**found))
                registered = pods.small(register(**found, published=uploaded.outputs["published"]))
            with dsl.Else(name="not-qualified"):
                refused = pods.small(_named(register_model, number, REFUSED_STEP)(**found, published={}))
                refused.set_display_name(REFUSED_STEP)
            registration = dsl.OneOf(registered.outputs["registration"], refused.outputs["registration"])
            return Outcome(qualified.outputs["outcome"], registration)

        kinds = [_parameter(name, dict) for name in GATE]
        kinds += [_parameter("history", dsl.Input[dsl.Artifact]), _parameter("dataset", dsl.Input[dsl.Dataset])]
        kinds.append(_parameter("model_dir", dsl.Input[dsl.Model]))
        return dsl.pipeline(name=f"end-{number}")(_with(end, kinds))


def _named(component: Any, number: int, name: str | None = None) -> Any:
    """A component by the name of its round: the same one whatever rounds there are, as the local cache asks for."""
    found = copy.deepcopy(component)
    found.name = found.component_spec.name = f"round-{number}-{name or component.name}"
    return found


def _one_of(*ends: Any) -> Outcome:
    names = Outcome._fields
    return Outcome(*(dsl.OneOf(*(each.outputs[name] for each in ends)) for name in names))


def _parameter(name: str, kind: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)


def _with(function: Any, parameters: Sequence[inspect.Parameter]) -> Any:
    """A function of `*given` as KFP reads it: with a name for each argument."""
    function.__signature__ = inspect.Signature(list(parameters), return_annotation=Outcome)
    return function
