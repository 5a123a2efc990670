"""New training rows from reference rows: generated, checked, deduplicated, merged."""
