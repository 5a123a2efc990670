"""Redaction of private things in text."""

import pytest
from llm_endpoint.redaction import Redactor, redact

HF = "hf_" + "aB3" * 11
CARD = "4111 1111 1111 1111"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow+/=\nab-cd\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to jo.doe+x@mail.example.co.uk, please", "write to [EMAIL], please"),
        ("联系我user@example.com谢谢", "联系我[EMAIL]谢谢"),
        ("jürgen@müller.de", "[EMAIL]"),
        (f"token {HF}.", "token [KEY]."),
        ("sk-proj-abcdefghij1234567890", "[KEY]"),
        ("lsv2_pt_0123456789abcdef_0123456789", "[KEY]"),
        ("AKIAIOSFODNN7EXAMPLE", "[KEY]"),
        ("ghp_" + "a1" * 18, "[KEY]"),
        ("xoxb-123456789012-abcdef", "[KEY]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijkl", "[KEY]"),
        (f"before\n{PEM}\nafter", "before\n[KEY]\nafter"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEow", "[KEY]"),
        (r'{"text": "line\n' + HF + '"}', r'{"text": "line\n[KEY]"}'),
        ("Bearer abc123def456", "Bearer [KEY]"),
        ("curl -H 'Authorization: Basic dXNlcjpwYXNz'", "curl -H 'Authorization: [KEY]'"),
        ('api_key="two words" next', 'api_key="[KEY]" next'),
        ("password: hunter2, PASSWORD=swordfish!", "password: [KEY], PASSWORD=[KEY]"),
        ('{"client_secret": "abc"}', '{"client_secret": "[KEY]"}'),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7", "AWS_SECRET_ACCESS_KEY=[KEY]"),
        ("postgres://me:s3cr3t@db/x", "postgres://me:[KEY]@db/x"),
        (f"{CARD}, 4111-1111-1111-1111 and 4111111111111111", "[CARD], [CARD] and [CARD]"),
        ("in 2024 4111 1111 1111 1111 123", "in 2024 [CARD] 123"),
        ("3782 822463 10005 / 378282246310005 / 30569309025904", "[CARD] / [CARD] / [CARD]"),
        ("DE89 3704 0044 0532 0130 00 IS IT, GB82WEST12345698765432", "[IBAN] IS IT, [IBAN]"),
    ],
)
def test_private_things_are_replaced(text: str, expected: str):
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "on 2024-01-02 03:04:05 we had 1,234,567.89 and 3.14159265358979",
        "card 4111 1111 1111 1112 fails its check digit",
        "order 1700000000000, ISBN 9780306406157, +49 170 1234567",
        "a ratio of 0.4111111111111111",
        "DE89 3704 0044 0532 0130 01",
        "@handle, a@b and 5 @ 3.50",
        "a task-oriented-something-long risk-adjusted-return-of-investment",
        "The bearer certificates; the bearer of 12 shares.",
        "Token: the smallest unit. The secret: always be kind. The key: value",
        "max_tokens=512 and tokens: 1024",
        "Context: who? Question: what = this?",
    ],
)
def test_ordinary_text_is_left_alone(text: str):
    assert redact(text) == text


def test_a_password_is_also_replaced_where_it_stands_alone_later():
    redactor = Redactor()
    assert redactor.text("The password: swordfish.") == "The password: [KEY]"
    assert redactor.value(["it is swordfish"]) == ["it is [KEY]"]


def test_known_secrets_are_replaced_wherever_they_stand():
    assert Redactor(["canary-in-the-mine", ""]).text("x=canary-in-the-mine!") == "x=[KEY]!"


def test_nested_values_are_redacted_by_name_and_by_content():
    value = {"api_key": "plain", "max_tokens": 3, "list": [{"mail": "a@b.cc"}, None, True], "card": 4111111111111111}
    assert Redactor().value(value) == {
        "api_key": "[KEY]",
        "max_tokens": 3,
        "list": [{"mail": "[EMAIL]"}, None, True],
        "card": "[CARD]",
    }


def test_endless_nesting_is_cut():
    value: list[object] = []
    for _ in range(5000):
        value = [value]
    assert "[too deep]" in str(Redactor().value(value))


def test_what_is_redacted_stays_as_it_is():
    once = redact(f"a@b.cc {HF} {CARD} password=abcdef {PEM}")
    assert redact(once) == once
