"""From a transformers model to the IR that continuous batching takes: past keys and values are state inside the graph.

The graph is traced, which took a third of the time of transformers' own OpenVINO exporter with the same tokens. Where a
trace froze something that should depend on the prompt, the comparison in `equality` finds it.
"""

import inspect
import logging
import warnings
from pathlib import Path
from typing import Any, Literal

from llm_endpoint.engines.openvino.core import last_line
from llm_endpoint.errors import ModelError

logger = logging.getLogger(__name__)

Precision = Literal["fp32", "int8"]
MODEL_FILE = "openvino_model.xml"
WEIGHTS_FILE = "openvino_model.bin"
INPUTS = ("input_ids", "attention_mask", "position_ids")
SCALED_BY_LENGTH = ("dynamic", "longrope")
"""Kinds of rotary embedding that compute other angles for a longer prompt: a trace keeps those of a short one."""


class NotConvertible(ModelError):
    """OpenVINO cannot serve this model; transformers still can."""


def convert_model(model: Any, context_length: int) -> Any:
    """Trace a causal language model in fp32.

    Args:
        model: A transformers model in evaluation mode on the CPU.
        context_length: Longest prompt and answer together, in tokens.

    Returns:
        An `openvino.Model` with the inputs input_ids, attention_mask, position_ids and beam_idx, and the output logits.

    Raises:
        NotConvertible: If the architecture does not fit.
    """
    if "position_ids" not in inspect.signature(model.forward).parameters:
        raise NotConvertible(f"{type(model).__name__} takes no position_ids")
    _refuse_scaled_rotary(model.config, context_length)
    try:
        traced, shapes = _trace(model)
        _make_stateful(traced, shapes)
        _use_float_masks(traced)
    except MemoryError:
        raise
    except Exception as error:  # tracing runs the model's own code, which may raise anything
        raise NotConvertible(f"{type(model).__name__} cannot be traced: {last_line(error)}") from error
    return traced


def token_bytes(converted: Any) -> int:
    """Bytes of keys and values in fp32 that one token takes, all layers together."""
    total = 0
    for variable in converted.get_variables():
        shape = variable.get_info().data_shape
        total += shape[1].get_length() * shape[3].get_length() * 4
    return total


def compress_weights(converted: Any) -> None:
    """Store the weights of linear layers and embeddings in int8, one scale per row; computing stays in fp32.

    OpenVINO has no such pass of its own (it lives in nncf); the pattern is the one that its CPU plugin knows.
    """
    import numpy as np
    from openvino import Type
    from openvino import opset13 as ops

    for constant in [node for node in converted.get_ops() if node.get_type_name() == "Constant"]:
        targets = [target for target in constant.output(0).get_target_inputs() if _is_weight(target)]
        if constant.get_element_type() != Type.f32 or len(constant.shape) != 2 or not targets:
            continue
        weights = constant.data
        scales = np.maximum(np.abs(weights).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / 127
        quantized = ops.constant(np.round(weights / scales).astype(np.int8))
        restored = ops.multiply(ops.convert(quantized, Type.f32), ops.constant(scales))
        restored.set_friendly_name(constant.get_friendly_name())
        for target in targets:
            target.replace_source_output(restored.output(0))
    converted.validate_nodes_and_infer_types()


def save_converted(converted: Any, folder: Path) -> None:
    """Write the graph and its weights as they are (OpenVINO halves fp32 weights unless told not to)."""
    import openvino

    openvino.save_model(converted, folder / MODEL_FILE, compress_to_fp16=False)


def _refuse_scaled_rotary(config: Any, context_length: int) -> None:
    parameters = getattr(config, "rope_parameters", None) or {}
    for rope in (parameters, *parameters.values()):  # one for all layers, or one for each kind of layer
        if isinstance(rope, dict) and rope.get("rope_type") in SCALED_BY_LENGTH:
            trained = rope.get("original_max_position_embeddings") or config.max_position_embeddings
            if trained < context_length:
                raise NotConvertible(f"its rotary embedding ({rope['rope_type']}) changes beyond {trained} tokens")


def _is_weight(target: Any) -> bool:
    node = target.get_node()
    if node.get_type_name() == "MatMul":  # rows are output channels
        return target.get_index() == 1 and bool(node.get_attributes()["transpose_b"])
    return bool(node.get_type_name() == "Gather" and target.get_index() == 0)


def _trace(model: Any) -> tuple[Any, list[Any]]:
    """Trace one forward pass with a past, and name what goes in and out."""
    import openvino
    import torch
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    class Forward(torch.nn.Module):
        """Keys and values as plain tensors, since a trace knows no cache objects."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, position_ids: Any, past: Any) -> Any:
            cache = DynamicCache()  # of full layers, also for sliding windows: GenAI keeps every token
            for keys, values in zip(past[0::2], past[1::2], strict=True):
                layer = DynamicLayer()
                layer.lazy_initialization(keys, values)
                layer.keys, layer.values = keys, values
                cache.layers.append(layer)
            output = self.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                position_ids=position_ids,
                past_key_values=cache,
                use_cache=True,
            )
            present = [state for layer in output.past_key_values.layers for state in (layer.keys, layer.values)]
            return (output.logits, *present)

    # sizes that differ from each other and from 1, so that none is taken for another or for a constant
    batch, seen, new = 2, 5, 3
    cache = DynamicCache()
    with torch.no_grad():
        model(torch.ones(batch, seen, dtype=torch.long), past_key_values=cache, use_cache=True)
        past = [state for layer in cache.layers for state in (layer.keys, layer.values)]
        example = (
            torch.ones(batch, new, dtype=torch.long),
            torch.ones(batch, seen + new, dtype=torch.long),
            torch.arange(seen, seen + new).repeat(batch, 1),
            past,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one for every shape that the model looks at
            traced = openvino.convert_model(Forward(), example_input=example)
    shapes = [openvino.PartialShape([-1, state.shape[1], -1, state.shape[3]]) for state in past]
    names = [*INPUTS, *(f"past.{index}" for index in range(len(past)))]
    if len(traced.inputs) != len(names):
        raise NotConvertible(f"{type(model).__name__} leaves some of its inputs unused")
    plain = openvino.PartialShape([-1, -1])
    for port, name, shape in zip(traced.inputs, names, [plain] * len(INPUTS) + shapes, strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
        port.get_node().set_partial_shape(shape)
    for port, name in zip(traced.outputs, ["logits", *(f"present.{i}" for i in range(len(past)))], strict=True):
        port.get_tensor().set_names({name})
    traced.validate_nodes_and_infer_types()
    return traced, shapes


def _make_stateful(traced: Any, shapes: list[Any]) -> None:
    """Turn past and present keys and values into variables that start empty."""
    import numpy as np
    from openvino import Type
    from openvino import opset13 as ops
    from openvino._offline_transformations import apply_make_stateful_transformation

    past = traced.inputs[len(INPUTS) :]
    beam_idx = ops.parameter([-1], Type.i32, name="beam_idx")
    beam_idx.output(0).get_tensor().set_names({"beam_idx"})
    traced.add_parameters([beam_idx])
    axis = ops.constant(0, dtype=np.int64)
    for port in past:
        readers = list(port.get_target_inputs())
        reordered = ops.gather(port, beam_idx, axis)
        for reader in readers:
            reader.replace_source_output(reordered.output(0))
    traced.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(traced, {f"past.{i}": f"present.{i}" for i in range(len(shapes))})

    # without an initial value of length zero the conversion to paged attention breaks
    batch = ops.gather(ops.shape_of(traced.input("input_ids"), output_type="i64"), ops.constant([0]), axis)
    for node in traced.get_ops():
        if node.get_type_name() == "ReadValue":
            shape = node.get_output_partial_shape(0)
            rest = np.array([shape[1].get_length(), 0, shape[3].get_length()], dtype=np.int64)
            empty = ops.broadcast(ops.constant(0.0, dtype=np.float32), ops.concat([batch, ops.constant(rest)], 0))
            node.set_arguments([empty])
    traced.validate_nodes_and_infer_types()


def _use_float_masks(traced: Any) -> None:
    """Give attention additive masks: only in that form does OpenVINO see a sliding window in one."""
    import numpy as np
    from openvino import Type
    from openvino import opset13 as ops

    hidden = ops.constant(float(np.finfo(np.float32).min), dtype=np.float32)
    additive: dict[str, Any] = {}
    for node in traced.get_ops():
        if (
            node.get_type_name() == "ScaledDotProductAttention"
            and node.input_value(3).get_element_type() == Type.boolean
        ):
            mask = node.input_value(3)
            name = mask.get_node().get_friendly_name()
            if name not in additive:
                additive[name] = ops.select(mask, ops.constant(0.0, dtype=np.float32), hidden)
            node.input(3).replace_source_output(additive[name].output(0))
    traced.validate_nodes_and_infer_types()
