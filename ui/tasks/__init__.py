"""A page for each task of the model that is served."""
