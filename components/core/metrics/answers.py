"""Metrics of answers, by the rules of the official SQuAD 2 script: pure functions of text."""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

# the official script removes ASCII punctuation only: "10-year" becomes "10year", typographic quotes stay
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)


def normalize_answer(text: str) -> str:
    """Lower-case; drop ASCII punctuation, then the articles a, an and the, then surplus whitespace."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(reference: str, prediction: str) -> int:
    """1 if both texts are the same once normalised, else 0."""
    return int(normalize_answer(reference) == normalize_answer(prediction))


def f1(reference: str, prediction: str) -> float:
    """Harmonic mean of word precision and recall, 0 to 1; where one side has no words, 1 only if both have none."""
    expected, found = normalize_answer(reference).split(), normalize_answer(prediction).split()
    if not expected or not found:
        return float(expected == found)
    common = sum((Counter(expected) & Counter(found)).values())
    if not common:
        return 0.0
    precision, recall = common / len(found), common / len(expected)
    return 2 * precision * recall / (precision + recall)


def best_over_references(
    metric: Callable[[str, str], float], references: Sequence[str], prediction: str | None
) -> float:
    """The best score of a prediction over its references, 0 to 1.

    Args:
        metric: `exact_match` or `f1`.
        references: Accepted answers; those that normalise to nothing do not count, and none at all means that the
            right prediction is "".
        prediction: Predicted answer; None is a missing one and scores 0.
    """
    if prediction is None:
        return 0.0
    accepted = [reference for reference in references if normalize_answer(reference)] or [""]
    return float(max(metric(reference, prediction) for reference in accepted))
