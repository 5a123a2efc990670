"""Forms of a word that mean the same: plurals and case endings, accents left out, 3 for three, Jan for January."""

import re
import unicodedata

from llm_endpoint.grounding.glue import ABBREVIATIONS, NUMBERS
from llm_endpoint.grounding.words import remember

_DOT_GROUPED = re.compile(r"\d{1,3}\.\d{3}")
_BRITISH = re.compile(r"is(?=(?:e|es|ed|er|ing|ation|ations)$)")
_LATIN_ENDINGS = ("ing", "ies", "ed", "es", "en", "er", "em", "ly", "os", "as", "s", "e", "n", "a", "o", "i", "y", "d")
_CYRILLIC_ENDINGS = (
    "ами", "ями", "ого", "его", "ому", "ему", "ыми", "ими", "ой", "ей", "ом", "ем", "ам", "ям", "ах", "ях", "ый", "ий",
    "ая", "яя", "ое", "ее", "ые", "ие", "ую", "юю", "ым", "им", "ых", "их", "а", "я", "у", "ю", "е", "ы", "и", "о", "ь",
    "й",
)  # fmt: skip
_GREEK_ENDINGS = ("ουσ", "εισ", "εωσ", "οσ", "ου", "ον", "οι", "ων", "ασ", "εσ", "ησ", "ισ", "α", "ο", "η", "ι", "ε")
_ARABIC_PREFIXES = ("وال", "بال", "كال", "فال", "لل", "ال", "و", "ب", "ل", "ف", "ك")


@remember
def bare(key: str) -> str:
    """Without the marks that writers leave out: accents, Arabic and Hebrew vowels; Indic and Thai vowels stay."""
    if key.isascii():
        return key
    decomposed = unicodedata.normalize("NFD", key)
    kept = (char for char in decomposed if not (10 <= (mark := unicodedata.combining(char)) <= 35 or mark >= 202))
    return unicodedata.normalize("NFC", "".join(kept)) or key


@remember
def name_form(key: str) -> str:
    """What names and numbers may vary in: the case endings of Cyrillic and Greek, Arabic clitics, short forms.

    Latin endings stay: William is not Williams.
    """
    if key.isascii():
        if _DOT_GROUPED.fullmatch(key):
            return key.replace(".", "")
        return NUMBERS.get(key) or ABBREVIATIONS.get(key) or _BRITISH.sub("iz", key)
    first = key[0]
    if "\u0400" <= first <= "\u052f":
        return _without(key, _CYRILLIC_ENDINGS, 3)
    if "\u0370" <= first <= "\u03ff" or "\u1f00" <= first <= "\u1fff":
        return _without(bare(key), _GREEK_ENDINGS, 3)
    if "\u0600" <= first <= "\u06ff":
        prefix = next((p for p in _ARABIC_PREFIXES if key.startswith(p)), "")
        return key[len(prefix) :] if len(key) - len(prefix) >= 3 else key
    return key


@remember
def common_form(key: str) -> str:
    """Stem of a common noun, verb or adjective: up to two endings off, four letters left at least (cats: three)."""
    name = name_form(key)
    if not bare(key[0]).isascii() or key[0].isdigit():
        return name
    stem = bare(name)
    if len(stem) == 4 and stem[3] == "s" != stem[2]:
        return stem[:3]
    for _ in range(2):
        stem = _without(stem, _LATIN_ENDINGS, 4)
    return stem


def _without(word: str, endings: tuple[str, ...], shortest: int) -> str:
    for ending in endings:
        if word.endswith(ending) and len(word) - len(ending) >= max(shortest, 2 * len(ending)):
            return word[: -len(ending)]
    return word
