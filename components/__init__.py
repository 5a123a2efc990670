"""Image 1, pipeline: one file per step, and the library that they call."""
