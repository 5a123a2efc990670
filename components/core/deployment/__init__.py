"""The cluster: what is applied to it, what is asked of it, and why something there is not ready."""
