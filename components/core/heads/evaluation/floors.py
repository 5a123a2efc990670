"""What any model must be held against: the majority answer, and a bag of words fitted on the same training rows."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from components.core.heads.evaluation.tallies import tally_indicators
from components.core.metrics.multi_label import indicate
from components.core.metrics.thresholds import labels_over, tune_thresholds
from components.core.tasks import Row
from components.core.tasks.heads import Head, Prediction
from components.core.tasks.ner import repair_tags

MAX_TRAINING_ROWS = 20_000
"""Rows that the bag of words learns from; a seeded sample of more."""


def majority(head: Head, train: Sequence[Row], rows: Sequence[Row], metric: str) -> list[Prediction]:
    """The constant answer of the training rows, for each of `rows`.

    The most frequent label; the set of labels that does best on the training rows in `metric`, out of the empty one,
    the most frequent one and the k most frequent labels; the mean; no entity.
    """
    match head.task:
        case "single_label":
            counts = Counter(row["label"] for row in train)
            shares = {label: counts[label] / len(train) for label in head.labels}
            best = max(head.labels, key=lambda label: counts[label])
            answer: Prediction = {"label": best, "score": shares[best], "probabilities": shares}
        case "multi_label":
            counts = Counter(label for row in train for label in row["labels"])
            shares = {label: counts[label] / len(train) for label in head.labels}
            answer = {"labels": _best_set(head, train, counts, metric), "probabilities": shares}
        case "regression":
            answer = {"value": float(np.mean([row["score"] for row in train]))}
        case "ner":
            return [{"tags": ["O"] * len(row["tokens"]), "entities": []} for row in rows]
    return [answer] * len(rows)


def _best_set(head: Head, train: Sequence[Row], counts: Counter[str], metric: str) -> list[str]:
    ranked = [label for label, _ in counts.most_common(25)]
    whole = Counter(tuple(sorted(row["labels"])) for row in train).most_common(1)[0][0]
    choices = [[], list(whole), *(ranked[: size + 1] for size in range(len(ranked)))]
    wanted = indicate([row["labels"] for row in train], head.labels)
    scores = [tally_indicators(wanted, indicate([c] * len(train), head.labels)).all_rows()[metric] for c in choices]
    best = choices[int(np.argmax(scores))]
    return [label for label in head.labels if label in set(best)]


def bag_of_words(
    head: Head, train: Sequence[Row], validation: Sequence[Row], rows: Sequence[Row], seed: int
) -> list[Prediction] | None:
    """Predictions of a model without any knowledge of language, seeded; None where it cannot be fitted.

    TF-IDF of words, word pairs and character n-grams with logistic regression, one against the rest with thresholds
    tuned on `validation` for label lists, and ridge regression for numbers; for entities the tag that each word had
    most often.
    """
    if len(train) > MAX_TRAINING_ROWS:
        chosen = np.random.default_rng(seed).choice(len(train), MAX_TRAINING_ROWS, replace=False)
        train = [train[number] for number in sorted(chosen.tolist())]
    if head.task == "ner":
        return _most_frequent_tags(train, rows)
    features = _features(train)
    if features is None:
        return None
    fit = {"single_label": _fit_label, "multi_label": _fit_label_lists, "regression": _fit_number}[head.task]
    return fit(head, features, train, validation, rows, seed)


Features = Callable[[Sequence[Row]], Any]


def _text(row: Row) -> str:
    return "\n".join(row[name] for name in ("text", "text_pair") if name in row)


def _features(train: Sequence[Row]) -> Features | None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    union = make_union(
        # punctuation counts: "great!" is not "great"
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\w+|[^\w\s]", sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, max_features=100_000),
    )
    try:
        union.fit([_text(row) for row in train])
    except ValueError:  # blank texts only
        return None
    return lambda some: union.transform([_text(row) for row in some])


def _fit_label(
    head: Head, features: Features, train: Sequence[Row], validation: Sequence[Row], rows: Sequence[Row], seed: int
) -> list[Prediction] | None:
    from sklearn.linear_model import LogisticRegression

    wanted = [row["label"] for row in train]
    if len(set(wanted)) < 2:
        return None
    model = LogisticRegression(C=30, tol=1e-3, max_iter=100, random_state=seed).fit(features(train), wanted)
    place = {label: number for number, label in enumerate(model.classes_)}
    predictions = []
    for shares in model.predict_proba(features(rows)).tolist():
        probabilities = {label: shares[place[label]] if label in place else 0.0 for label in head.labels}
        best = max(head.labels, key=lambda label: probabilities[label])  # noqa: B023
        predictions.append({"label": best, "score": probabilities[best], "probabilities": probabilities})
    return predictions


def _fit_label_lists(
    head: Head, features: Features, train: Sequence[Row], validation: Sequence[Row], rows: Sequence[Row], seed: int
) -> list[Prediction] | None:
    from sklearn.linear_model import LogisticRegression

    wanted = indicate([row["labels"] for row in train], head.labels)
    tuning = validation or train
    known, asked = features(train), (features(tuning), features(rows))
    columns: list[list[Any]] = [[], []]
    one_label = LogisticRegression(C=1, class_weight="balanced", solver="liblinear", random_state=seed)
    for column in wanted.T:
        constant = column.all() or not column.any()
        model = None if constant else one_label.fit(known, column)
        for part, matrix in zip(columns, asked, strict=True):
            part.append(model.predict_proba(matrix)[:, 1] if model else np.full(matrix.shape[0], float(column.all())))
    tuned = tune_thresholds(
        np.column_stack(columns[0]), indicate([row["labels"] for row in tuning], head.labels), head.labels
    )
    probabilities = np.column_stack(columns[1])
    found = labels_over(probabilities, [each.value for each in tuned], head.labels)
    return [
        {"labels": labels, "probabilities": dict(zip(head.labels, shares, strict=True))}
        for labels, shares in zip(found, probabilities.tolist(), strict=True)
    ]


def _fit_number(
    head: Head, features: Features, train: Sequence[Row], validation: Sequence[Row], rows: Sequence[Row], seed: int
) -> list[Prediction] | None:
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=1.0, random_state=seed).fit(features(train), [row["score"] for row in train])
    return [{"value": float(value)} for value in model.predict(features(rows))]


def _most_frequent_tags(train: Sequence[Row], rows: Sequence[Row]) -> list[Prediction]:
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for row in train:
        for token, tag in zip(row["tokens"], row["ner_tags"], strict=True):
            seen[token][tag] += 1
    known = {token: counts.most_common(1)[0][0] for token, counts in seen.items()}
    return [{"tags": repair_tags([known.get(t, "O") for t in row["tokens"]])[0], "entities": []} for row in rows]
