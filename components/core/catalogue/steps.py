"""Which parameters each step of a task has."""

from collections.abc import Mapping

from pydantic.fields import FieldInfo

from components.core.catalogue.deployment import DeployParameters, RegisterParameters
from components.core.catalogue.finetune import FINETUNE
from components.core.catalogue.gate import EVALUATE
from components.core.catalogue.inference import InferenceParameters
from components.core.catalogue.preprocess import PREPROCESS
from components.core.catalogue.sources import SourceParameters
from components.core.catalogue.values import Parameters

VERBS = ("preprocess", "finetune", "inference", "evaluate", "register", "deploy")
"""The steps, in their order; a component is called `<verb>_<task>`."""
ARTIFACTS = ("model_path", "test_file")
"""Parameters of inference that a pipeline hands over as artifacts."""


def kinds_of(verb: str, task: str) -> tuple[type[Parameters], ...]:
    """The groups of parameters of `<verb>_<task>`."""
    kinds: Mapping[str, tuple[type[Parameters], ...]] = {
        "preprocess": (PREPROCESS[task], SourceParameters),
        "finetune": (FINETUNE[task],),
        "inference": (InferenceParameters,),
        "evaluate": (EVALUATE[task],),
        "register": (RegisterParameters,),
        "deploy": (DeployParameters,),
    }
    return kinds[verb]


def fields_of(verb: str, task: str) -> dict[str, FieldInfo]:
    """All parameters of `<verb>_<task>` that are values, by name."""
    found = {name: field for kind in kinds_of(verb, task) for name, field in kind.model_fields.items()}
    return {name: field for name, field in found.items() if verb != "inference" or name not in ARTIFACTS}
