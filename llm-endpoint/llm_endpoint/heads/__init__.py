"""Models with a classification or regression head: from the texts of a request to predictions."""
