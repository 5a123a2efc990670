"""Secrets and e-mail addresses in text: which kind, never the text itself."""

import re
from collections.abc import Iterator

_SECRETS = (
    # (plain text that must occur, kind as shown, pattern): the plain search is what makes a scan of every row cheap
    ("hf_", "a Hugging Face token", re.compile(r"(?<![A-Za-z0-9_])hf_[A-Za-z0-9]{30,}")),
    ("sk-", "an API key (sk-...)", re.compile(r"(?<![A-Za-z0-9_-])sk-[A-Za-z0-9_-]{20,}")),
    ("AKIA", "an AWS access key", re.compile(r"(?<![A-Z0-9])AKIA[A-Z0-9]{16}(?![A-Z0-9])")),
    ("ASIA", "an AWS temporary access key", re.compile(r"(?<![A-Z0-9])ASIA[A-Z0-9]{16}(?![A-Z0-9])")),
    ("gh", "a GitHub token", re.compile(r"(?<![A-Za-z0-9_])gh[pousr]_[A-Za-z0-9]{36,}")),
    ("github_pat_", "a GitHub token", re.compile(r"(?<![A-Za-z0-9_])github_pat_[A-Za-z0-9_]{22,}")),
    ("glpat-", "a GitLab token", re.compile(r"(?<![A-Za-z0-9_])glpat-[A-Za-z0-9_-]{20,}")),
    ("xox", "a Slack token", re.compile(r"(?<![A-Za-z0-9_])xox[abeoprs]-[A-Za-z0-9-]{10,}")),
    ("AIza", "a Google API key", re.compile(r"(?<![A-Za-z0-9_])AIza[A-Za-z0-9_-]{35}")),
    ("lsv2_", "a LangSmith key", re.compile(r"(?<![A-Za-z0-9_])lsv2_(?:pt|sk)_[A-Za-z0-9_]{20,}")),
    (
        "eyJ",
        "a JSON web token",
        re.compile(r"(?<![A-Za-z0-9_])eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    ),
    ("PRIVATE KEY", "a private key", re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----")),
    (
        "://",
        "a password in an address",
        re.compile(r"[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{1,64}:[^\s/@]{3,64}@[A-Za-z0-9]"),
    ),
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")


def scan(text: str) -> Iterator[tuple[str, str]]:
    """Kind (`secret` or `email`) and message of everything private in a text."""
    for hint, what, pattern in _SECRETS:
        if hint in text and pattern.search(text):
            yield "secret", f"holds what looks like {what}; remove it and revoke it"
    if "@" in text:
        found = sum(1 for _ in _EMAIL.finditer(text))
        if found:
            yield "email", f"holds {found} e-mail address{'es' if found > 1 else ''}"
