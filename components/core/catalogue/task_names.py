"""The catalogue's names of tasks, and the core's."""

CORE_TASKS = {
    "classification_single_label": "single_label",
    "classification_multi_label": "multi_label",
    "regression": "regression",
    "ner": "ner",
}
"""Name in component names (`preprocess_ner`) to the name that data and model folders carry."""
