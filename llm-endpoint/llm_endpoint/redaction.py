"""Private things in text are replaced by [EMAIL], [KEY], [CARD] and [IBAN].

Texts come from strangers and may be megabytes long, so all of it is linear: a search starts at something rare, repeats
are bounded or cannot give back what they took, and what was taken is never looked at again.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from llm_endpoint.payment_numbers import mask_payment_numbers

EMAIL, KEY = "[EMAIL]", "[KEY]"
_LETTERS = "A-Za-z0-9\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff"
# found by its domain, because "@" is rare; the name before it is then read backwards
_EMAIL_DOMAIN = re.compile(rf"@(?:[{_LETTERS}-]{{1,63}}\.){{1,8}}[{_LETTERS}][{_LETTERS}-]{{1,62}}")
_EMAIL_NAME_BACKWARDS = re.compile(rf"[{_LETTERS}._%+'-]{{1,64}}")

# a JSON text inside a text puts the n of an escaped line break before the key
_ALONE = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
_SHAPES = tuple(
    (hint, re.compile(pattern))
    # (plain text that must occur, pattern): the plain search is what makes an ordinary text cheap
    for hint, pattern in (
        (
            "-----BEGIN ",
            # up to its END line, or to the end of the text where that was cut off
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[^-]++|-(?!----))*+"
            r"(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?",
        ),
        ("hf_", r"hf_[A-Za-z0-9]{16,}"),
        ("sk-", _ALONE + r"sk-[A-Za-z0-9_-]{16,}"),
        ("k_", r"[srp]k_(?:live|test)_[A-Za-z0-9]{16,}"),
        ("lsv2_", r"lsv2_(?:pt|sk)_[A-Za-z0-9_]{16,}"),
        ("ls__", r"ls__[A-Za-z0-9]{16,}"),
        ("AKIA", r"(?<![A-Z0-9])AKIA[A-Z0-9]{16}(?![A-Z0-9])"),
        ("ASIA", r"(?<![A-Z0-9])ASIA[A-Z0-9]{16}(?![A-Z0-9])"),
        ("gh", r"gh[pousr]_[A-Za-z0-9]{20,}"),
        ("github_pat_", r"github_pat_[A-Za-z0-9_]{20,}"),
        ("glpat-", r"glpat-[A-Za-z0-9_-]{16,}"),
        ("xox", r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
        ("AIza", r"AIza[A-Za-z0-9_-]{30,}"),
        ("npm_", r"npm_[A-Za-z0-9]{30,}"),
        ("pypi-", r"pypi-[A-Za-z0-9_-]{40,}"),
        ("eyJ", _ALONE + r"eyJ[A-Za-z0-9_-]{10,}+(?:\.[A-Za-z0-9_-]{2,}+){1,4}"),
    )
)
_ADDRESS_PASSWORD = re.compile(r"(://[^\s/:@]{0,64}:)[^\s/@]{1,256}(?=@)")
_BEARER = re.compile(
    r"(?<=[Bb]earer )(?:[A-Za-z._~+/=-]{0,19}[0-9][A-Za-z0-9._~+/=-]{4,}+|[A-Za-z._~+/=-]{20,}+)"
    r"|(?<=BEARER )[A-Za-z0-9._~+/=-]{8,}+"
)

# `name = value` and `"name": "value"`, found by the sign between them; then the name is looked for before it
_SIGN = re.compile(r"[:=]+>?[ \t]{0,4}")
_BEFORE_SIGN = " \t\"'])"
_PASSWORD_NAMES = ("password", "passwd", "passphrase", "passcode", "pwd")
_KEY_NAMES = tuple(
    f"{kind}{gap}{what}"
    for gap in ("_", "-", " ", "")
    for what, kinds in (
        ("key", ("api", "access", "secret", "private", "account", "auth", "signing", "encryption")),
        ("token", ("auth", "access", "refresh", "session", "api", "bearer", "id")),
        ("secret", ("client",)),
    )
    for kind in kinds
)
_SURE_NAMES = (*_PASSWORD_NAMES, *_KEY_NAMES, "authorization")
_POSSIBLE_NAMES = ("token", "secret", "credential", "credentials", "cookie")
_QUOTED = r"\"[^\"\n]++|'[^'\n]++"
_VALUE = re.compile(rf"{_QUOTED}|(?i:(?:bearer|basic|token)[ \t])?[^\s\"'<>,;(){{}}\[\]&]{{3,}}+")
# "token:" and "secret:" also stand in prose, so after them only what does not look like a word is taken
_UNWORDLY = re.compile(
    rf"{_QUOTED}|[^\s\"'<>,;(){{}}\[\]&0-9]{{0,15}}[0-9][^\s\"'<>,;(){{}}\[\]&]{{3,}}+|[^\s\"'<>,;(){{}}\[\]&]{{16,}}+"
)
_LONGEST_NAME = 24
_SHORTEST_PRIVATE = 16
"""A shorter text is private only by a sign in it: @, =, : or digits."""
_SHORTEST_REPEATED = 6
_MOST_REPEATED = 64
_DEEPEST = 32
_LONG_NUMBER = 10**12


def redact(text: str) -> str:
    """The text without e-mail addresses, keys, passwords, card numbers and IBANs; in time linear in its length."""
    return Redactor().text(text)


class Redactor:
    """Redacts the texts of one trace or row, in order.

    A password that was recognised by its surroundings ("password: ...") is also replaced where it stands alone in the
    texts that follow: in an answer, for instance.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = [secret for secret in secrets if len(secret) >= _SHORTEST_REPEATED]
        """Replaced wherever they stand."""
        self._most = len(self._secrets) + _MOST_REPEATED
        self._done: dict[str, str] = {}

    def text(self, text: str) -> str:
        """One text, redacted; the same text again costs nothing."""
        done = self._done.get(text)
        if done is None:
            done = self._done[text] = self._redact(text)
        return done

    def value(self, value: Any, depth: int = 0) -> Any:
        """Dicts, lists and texts, redacted throughout; a text under a name like `api_key` is replaced as a whole."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int) and abs(value) >= _LONG_NUMBER:
            masked = self.text(str(value))
            return value if masked == str(value) else masked
        if isinstance(value, (int, float)) or value is None:
            return value
        if depth >= _DEEPEST:
            return "[too deep]"
        if isinstance(value, Mapping):
            return {self.text(str(name)): self._named(str(name), inner, depth + 1) for name, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(inner, depth + 1) for inner in value]
        return self.text(str(value))

    def _named(self, name: str, value: Any, depth: int) -> Any:
        lower = name.lower()
        if isinstance(value, str) and value and lower.endswith((*_SURE_NAMES, *_POSSIBLE_NAMES)):
            self._remember(value)
            return KEY
        return self.value(value, depth)

    def _redact(self, text: str) -> str:
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, KEY)
        if len(text) < _SHORTEST_PRIVATE and text.isalpha():
            return text  # names of fields, mostly
        for hint, pattern in _SHAPES:
            if hint in text:
                text = pattern.sub(KEY, text)
        if "://" in text:
            text = _ADDRESS_PASSWORD.sub(rf"\g<1>{KEY}", text)
        text = _BEARER.sub(KEY, text) if "earer " in text or "BEARER " in text else text
        text = self._mask_named(text)
        if "@" in text:
            text = _mask_emails(text)
        return mask_payment_numbers(text)

    def _mask_named(self, text: str) -> str:
        kept: list[str] = []
        done = 0
        for sign in _SIGN.finditer(text):
            before = text[max(done, sign.start() - _LONGEST_NAME) : sign.start()].rstrip(_BEFORE_SIGN).lower()
            if before.endswith(_SURE_NAMES):
                value = _VALUE.match(text, sign.end())
            elif before.endswith(_POSSIBLE_NAMES):
                value = _UNWORDLY.match(text, sign.end())
            else:
                continue
            if value is None:
                continue
            quote = value[0][0] if value[0][0] in "\"'" else ""
            self._remember(value[0].removeprefix(quote))
            kept += (text[done : value.start()], quote, KEY)
            done = value.end()
        return "".join(kept) + text[done:] if kept else text

    def _remember(self, secret: str) -> None:
        secret = secret.rstrip(".!?:")  # the end of a sentence
        if len(secret) >= _SHORTEST_REPEATED and len(self._secrets) < self._most and KEY not in secret:
            self._secrets.append(secret)


def _mask_emails(text: str) -> str:
    kept: list[str] = []
    done = 0
    for match in _EMAIL_DOMAIN.finditer(text):
        before = text[max(done, match.start() - 64) : match.start()]
        name = _EMAIL_NAME_BACKWARDS.match(before[::-1])
        if name is not None:
            kept += (text[done : match.start() - name.end()], EMAIL)
            done = match.end()
    return "".join(kept) + text[done:] if kept else text
