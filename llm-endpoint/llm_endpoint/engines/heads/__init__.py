"""The runtimes of models with a head."""
