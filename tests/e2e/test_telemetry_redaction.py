"""Redaction of megabytes that were made to be slow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ENDPOINT = Path(__file__).resolve().parents[2] / "llm-endpoint"
HOSTILE = [
    *("a", "@", "a@", "a@a.", "a@b.cc ", "@" + "a." * 9, "@" + ("a" * 60 + ".") * 9, "." * 63 + "a@"),
    *("1", "1 ", "1234 ", "4111 1111 1111 1111 ", "12345678901234567 ", "DE00 0000 ", "DE00000000 ", "GB00AAAA1111111"),
    *("sk-", "hf_", "eyJ", "eyJaaaaaaaaaaaaaa.", "-", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "gh", "xoxb-"),
    *("password=", "password: ", "password='", 'password="', "token:a", "secret=aaaaaaaaaaaaaaaa ", "bearer ", "key"),
    *("://", "://a:", "://a:b@", ":", "=", " :", "a:", "authorization: basic ", "\\n", "\ud800", "é@é."),
]


@pytest.mark.e2e
def test_hostile_megabytes_take_seconds_not_hours():
    # each text is 2 MB; one quadratic search in any of them would take hours, so the deadline can be generous
    code = (
        "import sys, json; from llm_endpoint.redaction import redact\n"
        "for unit in json.loads(sys.stdin.read()): redact((unit * (2 * 2**20 // len(unit) + 1))[:2 * 2**20])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(HOSTILE), text=True, timeout=300, cwd=ENDPOINT, check=False
    )
    assert done.returncode == 0
