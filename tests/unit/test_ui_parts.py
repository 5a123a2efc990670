import pytest

from ui import parts
from ui.contract import Answer, Health, Span, Usage
from ui.problems import LONGEST_QUOTE, Problem, quoted, sentence, try_again
from ui.session import LONGEST_HISTORY, Exchange, Session
from ui.settings import load_settings
from ui.text_files import LARGEST_MB, read_text_file

HOSTILE = '<script>alert("x")</script>'


def test_nothing_from_outside_becomes_html():
    answer = Answer(
        response=HOSTILE,
        supported=True,
        spans=(Span(start=0, end=5),),
        model=HOSTILE,
        revision=HOSTILE,
        usage=Usage(),
        latency_seconds=1,
    )
    absent = answer.model_copy(update={"supported": False})
    problem = Problem("x", HOSTILE, said=HOSTILE, advice=HOSTILE)
    health = Health(status="failed", model=HOSTILE, revision=HOSTILE, detail=HOSTILE)
    drawn = [
        parts.answered(answer),
        parts.answered(absent),
        parts.evidence(HOSTILE, answer),
        parts.facts(answer),
        parts.arriving(HOSTILE, 1),
        parts.stopped(HOSTILE),
        parts.notice(problem),
        parts.status(health),
        parts.status(health.model_copy(update={"status": "ready"})),
    ]
    for part in drawn:
        assert "<script" not in part
        assert "&lt;" in part


def test_an_unsupported_answer_says_that_the_context_does_not_hold_it():
    drawn = parts.answered(Answer(response="Paris", supported=False))
    assert "The context does not hold the answer." in drawn
    assert "The model wrote: “Paris”" in drawn


def test_facts_name_time_tokens_model_and_revision():
    drawn = parts.facts(
        Answer(
            response="x",
            model="qa",
            revision="0123456789abcdef",
            usage=Usage(prompt_tokens=1057, completion_tokens=3, cached_tokens=48),
            latency_seconds=0.4,
            time_to_first_token_seconds=0.1,
        )
    )
    for fact in ("0.40 s", "0.10 s", "1,057 in (48 reused), 3 out", "qa, ", "revision 0123456789ab…"):
        assert fact in drawn


def test_facts_say_who_stood_in():
    answer = Answer(response="x", answered_by="local", fallback="away")
    assert "<dt>Answered by</dt><dd>the local model, standing in (away)</dd>" in parts.facts(answer)
    both = Answer(response="x", answered_by="service,local", fallback="<cut>")
    assert "the service and the local model, standing in (&lt;cut&gt;)" in parts.facts(both)
    assert "Answered by" not in parts.facts(Answer(response="x", answered_by="local"))


def test_facts_leave_out_what_the_endpoint_did_not_say():
    assert "Latency" not in parts.facts(Answer(response="x"))


def test_a_label_shows_markdown_as_it_was_typed():
    assert parts.in_label("*a* [b](c) `d` $e$\nf") == r"\*a\* \[b\]\(c\) \`d\` \$e\$ f"
    assert ":home:" not in parts.in_label(":home:")
    assert len(parts.in_label("word " * 100, longest=20)) == 20


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": "the queue is full"}', "The queue is full."),
        (b'{"error": {"message": "nested", "type": "x"}}', "Nested."),
        (b'{"detail": "not found!"}', "Not found!"),
        (b"upstream connect error\nreset\x00 reason", "Upstream connect error reset reason."),
        (b"<!doctype html><h1>502</h1>", ""),
        (b"sorry <HTML><body>502</body></HTML>", ""),
        (b"\xff\xfe\x00", ""),
        (b'{"code": 7}', ""),
        (b"", ""),
    ],
)
def test_only_readable_text_of_an_error_is_shown(body, message):
    assert quoted(body) == message


def test_a_long_message_is_cut():
    assert len(sentence("x" * 1000)) == LONGEST_QUOTE


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("7", "in 7 s."),
        ("0", "in 1 s."),
        (None, "in a moment."),
        ("soon", "in a moment."),
        ("-5", "in a moment."),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "in 1 s."),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(header, words):
    assert try_again(header) == f"Try again {words}"


def test_text_files_are_read_without_their_byte_order_mark():
    assert read_text_file("a.txt", "\ufeffZürich\r\nzwei\rdrei".encode()) == "Zürich\nzwei\ndrei"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("Zürich".encode("latin-1"), "a.txt is not UTF-8 text. Save it as"),
        ("Zürich".encode("utf-16"), "a.txt is not UTF-8 text"),
        (b"PK\x03\x04\x00\x00", "a.txt is not UTF-8 text"),
        (b" \n", "a.txt is empty"),
        (b"x" * (LARGEST_MB * 10**6 + 60_000), "a.txt is too large. It has 1.1 MB; 1 MB is the limit"),
    ],
)
def test_a_file_that_is_no_text_is_refused_with_the_remedy(data, words):
    with pytest.raises(Problem) as caught:
        read_text_file("a.txt", data)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("question", "context", "title"),
    [("", "c", "Question is empty"), ("q", " \n", "Context is empty"), ("", "", "Context and Question are empty")],
)
def test_empty_fields_are_named(question, context, title):
    session = Session()
    session.ask(question, context)
    assert session.running is None
    assert session.problem.title == title


def test_a_finished_question_is_shown_and_kept():
    session = Session()
    session.ask("q", "c")
    session.finish()
    session.finish()
    assert (session.running, session.shown.question, len(session.exchanges)) == (None, "q", 1)


def test_the_history_is_bounded():
    session = Session()
    for number in range(LONGEST_HISTORY + 5):
        session.ask(str(number), "c")
        session.finish()
    assert [e.question for e in session.exchanges] == [str(n) for n in range(5, LONGEST_HISTORY + 5)]


def test_the_history_says_in_short_what_came_of_a_question():
    assert Exchange("q", "c").outcome == "stopped"
    assert Exchange("q", "c", problem=Problem("busy", "The endpoint is busy")).outcome == "The endpoint is busy"
    assert Exchange("q", "c", answer=Answer(response="x")).outcome == "not in the context"
    assert Exchange("q", "c", answer=Answer(response=" x ", supported=True)).outcome == "x"


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("API_URL", "http://user:secret@llm-api:8080/qa/")
    monkeypatch.setenv("API_KEY", "the-key\n")
    settings = load_settings()
    assert settings.address == "http://llm-api:8080/qa"
    assert settings.api_key.get_secret_value() == "the-key"
    assert "the-key" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [("API_URL", "llm-api:8080/x y"), ("REQUEST_TIMEOUT_SECONDS", "-7"), ("API_KEY", "schlüssel-geheim")],
)
def test_impossible_settings_are_named_and_not_repeated(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(Problem, match=name) as caught:
        load_settings()
    assert value not in str(caught.value)
