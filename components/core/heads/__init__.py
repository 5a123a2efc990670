"""Models with a classification or regression head, from raw rows to judged predictions: the catalogue's four tasks."""
