"""The HTTP surface: guards around everything, and one thin file per protocol."""
