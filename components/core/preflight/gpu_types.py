"""What the common GPUs multiply, from their makers' data sheets."""

DENSE_TFLOPS: tuple[tuple[str, float], ...] = (
    ("B200", 2250), ("B100", 1750), ("GH200", 989), ("H200", 989), ("H100-PCIE", 756), ("H100-NVL", 835),
    ("H100", 989), ("H800", 989), ("A100", 312), ("A800", 312), ("L40S", 362), ("L40", 181), ("L20", 119),
    ("L4", 121), ("A10G", 70), ("A10", 125), ("A30", 165), ("A40", 150), ("RTX-A6000", 155),
    ("RTX-6000-ADA", 364), ("RTX-4090", 165), ("RTX-3090", 71), ("V100", 112), ("T4", 65),
)  # fmt: skip
"""Part of the product label, upper case, and dense half-precision TFLOP/s; the first that fits counts."""
UTILISATION = 0.35
"""Share of that a fine-tuning reaches; 0.3 to 0.5 is usual on one GPU."""


def flops_per_second(product: str) -> float | None:
    """Operations per second that a training gets from a GPU of this product label; none for an unknown GPU."""
    name = product.upper().replace(" ", "-")
    # a slice of a GPU has a slice of its speed, which the label does not tell
    if "-MIG-" in name or name.endswith("-SHARED"):
        return None
    parts = f"-{name}-"
    found = next((tflops for label, tflops in DENSE_TFLOPS if f"-{label}-" in parts), None)
    return found * 1e12 * UTILISATION if found else None
