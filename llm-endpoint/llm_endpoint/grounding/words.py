"""A text as a sequence of comparable words, each with its place in code points."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, wraps

LONGEST_REMEMBERED = 64
"""Characters."""
ARTICLES = frozenset(("a", "an", "the"))
"""What SQuAD's rules ignore; only English, as there."""
# Scripts written without spaces: every written character is a word of its own.
_UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
# ², ½, ①: neither letters nor part of the number that they follow ("10²" is not 102).
_OTHER_NUMERALS = "\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u209c\u2150-\u215f\u2189\u2460-\u24ff\u2776-\u2793"
# Join letters without being one: soft hyphen, zero-width (non-)joiner, word joiner.
_INVISIBLE = "\u00ad\u200c\u200d\u2060"
_DROPPED = str.maketrans("", "", _INVISIBLE + "\u0640" + "".join(map(chr, range(0xFE00, 0xFE10))))
# Turkish İ ı I i are told apart by nobody who types a question; Persian and Arabic keyboards differ in two letters.
_SAME = str.maketrans({"\u0131": "i", "\u06a9": "\u0643", "\u06cc": "\u064a"})


@dataclass(frozen=True)
class Words:
    """The words of a text in order; English articles are left out."""

    text: str
    keys: list[str]
    """Folded: equal keys are the same word, whatever its case, width or accents' encoding."""
    starts: list[int]
    ends: list[int]

    def __len__(self) -> int:
        return len(self.keys)

    def word(self, index: int) -> str:
        """A word as it is written."""
        return self.text[self.starts[index] : self.ends[index]]

    def gap(self, index: int) -> str:
        """What stands between a word and the next one."""
        return self.text[self.ends[index] : self.starts[index + 1]]


def _as_class(codes: list[int]) -> str:
    """Code points as the inside of a character class, neighbours as ranges."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


@cache
def word_pattern() -> re.Pattern[str]:
    """The pattern of one word with its combining marks; built once, from this Python's Unicode tables (some 20 ms)."""
    # `re` knows no \p{M}, and its \w leaves out the vowel signs of Hindi and Thai; no mark lies outside these planes
    codes = [*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)]
    marks = _as_class([code for code in codes if unicodedata.category(chr(code))[0] == "M"])
    extend = f"[{marks}{_INVISIBLE}\u0e33\u0eb3\uff9e\uff9f]"
    letter = rf"[^\W\d_{_UNSPACED}{_OTHER_NUMERALS}]"
    inner = rf"[^\W_{_UNSPACED}{_OTHER_NUMERALS}]"
    number = r"\d{1,3}(?:[,٬'’\u00a0\u202f]\d{3})+(?!\d)(?:[.٫]\d+)?|\d{1,3}(?:\.\d{3}){2,}(?!\d)(?:,\d+)?"
    return re.compile(
        rf"[{_UNSPACED}](?<=[^\W\d_])(?:{extend}|(?<=[\u17d2\u1039])[{_UNSPACED}])*"
        rf"|(?:(?<![^\s(\"'“*])(?<!\d\s)[-−])?(?:{number}|\d+(?:[.٫]\d+|,\d{{1,2}}(?!\d))?){extend}*"
        rf"|(?<![^\W{_UNSPACED}])[A-ZА-Я](?:\. ?[A-ZА-Я])+\.(?!{inner}|{extend})"  # J. K. Rowling
        rf"|(?<![^\W{_UNSPACED}])[^\W\d_{_UNSPACED}](?:\.[^\W\d_{_UNSPACED}])+(?!\w|{extend})\.?"  # U.S.A.
        r"|[A-Za-z][A-Za-z0-9]*+(?![^\x00-\x7f])"  # most words of most texts, without a look at the large classes
        rf"|{letter}(?:{inner}+|{extend}+)*"
        rf"|[^\W_]{extend}*|[{CURRENCIES}]{extend}*"
    )


CURRENCIES = "$€£¥₹%٪％"
"""Signs that are words: "$5" is five dollars, and "5%" five percent."""
_GROUPED = re.compile(r"\d{1,3}(?:[,'’\u00a0\u202f]\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?")


def remember(function: Callable[[str], str]) -> Callable[[str], str]:
    """Cache a function of a word; not for long ones, so that no text can fill the memory."""
    cached = lru_cache(maxsize=2**14)(function)

    @wraps(function)
    def call(word: str) -> str:
        return cached(word) if len(word) <= LONGEST_REMEMBERED else function(word)

    return call


@remember
def fold(word: str) -> str:
    """The key of a word: NFKC, case folded, digits as 0-9, numbers without separators, nothing invisible."""
    if word.isascii():
        key = word.lower()
    else:
        key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold())
        key = key.translate(_DROPPED).replace("i\u0307", "i").translate(_SAME)
        key = "".join("".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in key).split())
        key = key.replace("٬", ",").replace("٫", ".")
    if is_number(key):
        return "-" + _number(key[1:]) if key[0] in "-−" else _number(key)
    return key.replace(".", "").replace(" ", "") if "." in key else key


def is_number(key: str) -> bool:
    """Does it begin with a digit, after a minus sign perhaps?"""
    return key.lstrip("-−")[:1].isdigit()


def _number(key: str) -> str:
    if _GROUPED.fullmatch(key):
        fraction = re.search(r"(?<=,)\d+$" if key.count(".") > 1 else r"(?<=\.)\d+$", key)
        whole = re.sub(r"\D", "", key[: fraction.start()] if fraction else key)
        return f"{whole}.{fraction[0]}" if fraction else whole
    return key.replace(",", ".")


def is_unspaced(key: str) -> bool:
    """Is it a character of a script without spaces, for which it takes several to make a word?"""
    return not key.isascii() and bool(_unspaced_pattern().match(key))


@cache
def _unspaced_pattern() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}]")


def read_words(text: str) -> Words:
    """Split a text into words."""
    keys: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    folded: dict[str, str] = {}
    capitals_tell = not text.isupper()
    for match in word_pattern().finditer(text):
        word = match[0]
        start, end = match.span()
        key = folded.get(word)
        if key is None:
            key = folded[word] = fold(word)
        if not key or (key in ARTICLES and _is_article(text, start, end, capitals_tell)):
            continue
        keys.append(key)
        starts.append(start)
        ends.append(end)
    return Words(text, keys, starts, ends)


def _is_article(text: str, start: int, end: int, capitals_tell: bool) -> bool:
    """An article is followed by its word; the A of "hepatitis A virus" is none."""
    followed = text[end : end + 1].isspace() and text[end : end + 40].lstrip()[:1] not in ("", *".,;:!?)")
    inside = text[max(0, start - 40) : start].rstrip()[-1:].isalnum()
    return followed and not (capitals_tell and inside and text[start:end] == "A")


def splits_grapheme(text: str, at: int) -> bool:
    """Would a cut here separate a mark or a joiner from its character?"""
    char = text[at : at + 1]
    return bool(char) and (char in _INVISIBLE or unicodedata.category(char)[0] == "M")
