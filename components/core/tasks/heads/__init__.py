"""Tasks that a classification or regression head answers: what they ask of data, training, inference and serving."""

from components.core.tasks.heads.encoding import EncodedInputs, InputEncoder, Piece, pair_joiner
from components.core.tasks.heads.head import HEAD_FILE, Head, Scale, read_head, write_head
from components.core.tasks.heads.seam import HeadKind, HeadTask, Outputs, Prediction, Scores, gather_outputs

__all__ = [
    "HEAD_FILE",
    "EncodedInputs",
    "Head",
    "HeadKind",
    "HeadTask",
    "InputEncoder",
    "Outputs",
    "Piece",
    "Prediction",
    "Scale",
    "Scores",
    "gather_outputs",
    "pair_joiner",
    "read_head",
    "write_head",
]
