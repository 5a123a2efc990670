"""Rows with named columns that live on disk or as a dataset on the Hub, by id and split."""
