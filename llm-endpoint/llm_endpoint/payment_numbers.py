"""Numbers of payment cards and bank accounts in text, told from other numbers by their check digits."""

import re
from collections.abc import Callable

CARD, IBAN = "[CARD]", "[IBAN]"
_SPACE = "[ \u00a0\u2007\u2009\u202f\u2010-\u2013-]"
# lookaheads, so that a number that fails its check does not swallow the start of the next one; not after "0." either
_CARD = re.compile(
    rf"(?<![0-9])(?<![0-9][.,])(?=[2-68])"
    rf"(?=([0-9]{{4}}(?:{_SPACE}[0-9]{{4}}){{3}}(?![0-9]))({_SPACE}[0-9]{{1,3}}(?![0-9]))?"
    rf"|([0-9]{{4}}{_SPACE}[0-9]{{6}}{_SPACE}[0-9]{{4,5}}(?![0-9]))"
    rf"|([0-9]{{13,19}}(?![0-9])))"
)
# first digits of the card schemes, by length; without them one in ten serial numbers would pass the check digit
_SCHEMES = re.compile(
    r"4[0-9]{12}(?:[0-9]{3}(?:[0-9]{3})?)?|(?:2[2-7]|35|8[16])[0-9]{14}|3[47][0-9]{13}|3[0689][0-9]{12}"
    r"|5[1-5][0-9]{14}|(?:5[06-8]|6[0-9])[0-9]{11,17}"
)
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

_IBAN = re.compile(r"(?<![A-Za-z0-9])([A-Z]{2})[0-9]{2}(?= ?[A-Z0-9]{4})")
_IBAN_LENGTHS = {
    country: int(length)
    for country, length in re.findall(
        "(..)(..)",
        "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18FO18FR27GB22GE22GI23"
        "GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21MC27MD24ME22MK19MR27MT31MU30NL18"
        "NO15PK24PL28PS29PT25QA29RO24RS22SA24SC31SE24SI19SK24SM27TN24TR26UA29VA22VG24XK20",
    )
}

# every digit becomes 9 and what may stand between digits goes, so that one plain search finds whether enough are there
_NINES = bytes.maketrans(b"012345678", b"999999999")
_BETWEEN = " -\u00a0\u2007\u2009\u202f\u2010\u2011\u2012\u2013".encode()


def mask_payment_numbers(text: str) -> str:
    """Replace card numbers by [CARD] and IBANs by [IBAN]."""
    digits = text.encode("utf-8", "replace").translate(_NINES, _BETWEEN)
    if b"9" * 13 in digits:
        text = _mask(text, _CARD, CARD, _card_length)
    if b"9" * 7 in digits:
        text = _mask(text, _IBAN, IBAN, _iban_length)
    return text


def _mask(text: str, pattern: re.Pattern[str], placeholder: str, length_of: Callable[[re.Match[str]], int]) -> str:
    kept: list[str] = []
    done = 0
    for match in pattern.finditer(text):
        length = length_of(match) if match.start() >= done else 0
        if length:
            kept += (text[done : match.start()], placeholder)
            done = match.start() + length
    return "".join(kept) + text[done:] if kept else text


def _card_length(match: re.Match[str]) -> int:
    """Characters of the card number that starts here, 0 if none does."""
    fours, rest, other, plain = match.groups()
    candidates = (fours + rest if rest else None, fours, other, plain)
    return next((len(candidate) for candidate in candidates if candidate and _is_card(candidate)), 0)


def _is_card(written: str) -> bool:
    digits = re.sub(r"[^0-9]", "", written)
    if not _SCHEMES.fullmatch(digits):
        return False
    values = [int(digit) for digit in reversed(digits)]
    return (sum(values[::2]) + sum(_DOUBLED[value] for value in values[1::2])) % 10 == 0


def _iban_length(match: re.Match[str]) -> int:
    """Characters of the IBAN that starts here, written in one piece or in groups of four; 0 if none does."""
    length = _IBAN_LENGTHS.get(match[1], 0)
    if not length:
        return 0
    start, text = match.start(), match.string
    for written in (length, length + (length - 1) // 4):
        compact = text[start : start + written].replace(" ", "")
        whole = len(compact) == length and compact.isascii() and compact.isalnum()
        if whole and not text[start + written : start + written + 1].isalnum():
            number = "".join(str(int(character, 36)) for character in compact[4:] + compact[:4])
            return written if int(number) % 97 == 1 else 0
    return 0
