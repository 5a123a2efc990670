"""ONNX Runtime for models with a head: an export that is held against PyTorch, sessions, and int8 weights by a gate."""

from components.core.heads.onnx.exporting import OnnxReport, export_onnx
from components.core.heads.onnx.session import open_session, run

__all__ = ["OnnxReport", "export_onnx", "open_session", "run"]
