"""Recipes: what is trained. `load_recipe` reads one, the sections are its types."""

from components.core.recipe.config_file import parse_config
from components.core.recipe.judging import EvaluationConfig, GateConfig
from components.core.recipe.loading import LoadedRecipe, build_recipe, flatten, load_recipe, parse_override
from components.core.recipe.model_catalogue import CatalogueModel, find_model, get_model, read_catalogue
from components.core.recipe.section import Section
from components.core.recipe.sections import (
    DataConfig,
    GpuConfig,
    ModelConfig,
    Recipe,
    RegistryConfig,
    ResourcesConfig,
    TaskConfig,
    TokensConfig,
)
from components.core.recipe.training_section import LoraConfig, TrainingConfig
from components.core.recipe.without_gpu import without_needless_deepspeed

__all__ = [
    "CatalogueModel",
    "DataConfig",
    "EvaluationConfig",
    "GateConfig",
    "GpuConfig",
    "LoadedRecipe",
    "LoraConfig",
    "ModelConfig",
    "Recipe",
    "RegistryConfig",
    "ResourcesConfig",
    "Section",
    "TaskConfig",
    "TokensConfig",
    "TrainingConfig",
    "build_recipe",
    "find_model",
    "flatten",
    "get_model",
    "load_recipe",
    "parse_config",
    "parse_override",
    "read_catalogue",
    "without_needless_deepspeed",
]
