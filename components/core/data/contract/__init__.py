"""What is checked over all rows: form, repeats, leaks, secrets; each module holds one rule."""
