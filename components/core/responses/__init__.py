"""Batch inference: a model's answers to the prompts of a dataset."""
