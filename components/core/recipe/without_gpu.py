"""What becomes of a recipe where there is no GPU."""

from dataclasses import replace

from components.core.recipe.loading import LoadedRecipe

_KEY = "training.apply_deepspeed"


def without_needless_deepspeed(loaded: LoadedRecipe, cuda: bool | None) -> LoadedRecipe:
    """Leave DeepSpeed out where only the model's defaults ask for it and there is no GPU; a user's own wish stands.

    Args:
        loaded: The recipe; it gets a warning that says so.
        cuda: Whether this machine has a CUDA device; None where the training runs elsewhere, and then the recipe's
            number of GPUs counts.
    """
    recipe, origin = loaded.recipe, loaded.origins.get(_KEY, "")
    has_gpu = bool(recipe.gpu.count) if cuda is None else cuda
    if has_gpu or not recipe.training.apply_deepspeed or not origin.startswith("model "):
        return loaded
    why = "gpu.count=0" if cuda is None else "there is no GPU here"
    warning = (
        f"apply_deepspeed=True ({origin}) is left out, because {why}: what is trained is the same without it. Set "
        "apply_deepspeed=true yourself to train with DeepSpeed on the CPU."
    )
    training = recipe.training.model_copy(update={"apply_deepspeed": False})
    return replace(
        loaded,
        recipe=recipe.model_copy(update={"training": training}),
        origins=loaded.origins | {_KEY: why},
        warnings=(*loaded.warnings, warning),
    )
