"""Recipes: what is trained. `load_recipe` reads one, the sections are its types."""

from components.core.recipe.loading import LoadedRecipe, flatten, load_recipe
from components.core.recipe.sections import (
    DataConfig,
    EvaluationConfig,
    GateConfig,
    GpuConfig,
    LoraConfig,
    ModelConfig,
    Recipe,
    RegistryConfig,
    ResourcesConfig,
    Section,
    TaskConfig,
    TokensConfig,
    TrainingConfig,
)

__all__ = [
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
    "flatten",
    "load_recipe",
]
