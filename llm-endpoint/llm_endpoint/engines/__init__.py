"""The only place that knows how a model is run: `seam` is what the rest of the endpoint sees."""
