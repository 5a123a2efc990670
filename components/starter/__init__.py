"""The starter: a small base language model of our own, and the script that rebuilds it."""
