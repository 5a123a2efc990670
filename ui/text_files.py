"""A text file as context."""

from ui.problems import Problem

LARGEST_MB = 1
"""Larger files are refused with a message; one MB is 10**6 bytes, as Streamlit counts."""
UPLOAD_MB = 10
"""Larger files do not even leave the browser."""


def read_text_file(name: str, data: bytes) -> str:
    """Decode an uploaded file.

    Raises:
        Problem: If it is too large, empty, or not UTF-8 text.
    """
    if len(data) > LARGEST_MB * 10**6:
        raise Problem(
            "file",
            f"{name} is too large",
            said=f"It has {len(data) / 10**6:.1f} MB; {LARGEST_MB} MB is the limit.",
            advice="Use the part of it that matters.",
        )
    try:
        # utf-8-sig: the mark that Windows editors put in front is no part of the text.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_text(name) from error
    if "\0" in text:
        raise _not_text(name)
    if not text.strip():
        raise Problem("file", f"{name} is empty", advice="Choose a file with text in it.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _not_text(name: str) -> Problem:
    return Problem(
        "file",
        f"{name} is not UTF-8 text",
        advice="Save it as plain text in UTF-8 (in most editors: Save as, Encoding) and choose it again.",
    )
