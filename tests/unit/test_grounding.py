import random
import sys
import unicodedata

import pytest
from llm_endpoint.grounding import Grounding, Span, ground
from llm_endpoint.grounding.runs import maximal_runs

CONTEXT = (
    "Paris is the capital and largest city of France, on the Seine. Berlin, a city of 3,645,000 people, lies in "
    "Germany. Alice Smith was born on May 5, 1990. The 10-year plan of Bob Jones cost $1,000 (about €900). John Adams "
    "met Mary Brown. The World Health Organization sent an e-mail to the U.S. government; 12 women and 5 men read it."
)
UNSUPPORTED = Grounding(supported=False, spans=())


def evidence(answer, context=CONTEXT, question=""):
    """Texts of the spans, after checking what holds for every grounding."""
    found = ground(answer, context, question)
    check(found, context)
    return [context[span.start : span.end] for span in found.spans]


def check(found, context):
    assert found.supported == bool(found.spans)
    end = 0
    for span in found.spans:
        assert end <= span.start < span.end <= len(context)
        assert context[span.start : span.end].strip()
        assert span.end == len(context) or unicodedata.category(context[span.end])[0] != "M"
        end = span.end


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Paris", ["Paris"]),
        ("paris.", ["Paris"]),
        ("“the Seine”", ["the Seine"]),
        ("a largest city", ["largest city"]),
        ("3645000", ["3,645,000"]),
        ("$1,000", ["$1,000"]),
        ("about €900)", ["about €900)"]),
        ("email", ["e-mail"]),
        ("US", ["U.S."]),
    ],
)
def test_an_answer_is_found_whatever_its_case_punctuation_and_articles(answer, expected):
    assert evidence(answer) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("10 years", ["10-year"]),
        ("5 May 1990", ["May 5, 1990"]),
        ("1000 dollars", ["$1,000"]),
        ("Smith, Alice", ["Alice Smith"]),
        ("World Health Organisation", ["World Health Organization"]),
        ("WHO", ["World Health Organization"]),
        ("five men", ["5 men"]),
    ],
)
def test_an_answer_in_other_words_is_found_where_they_mean_the_same(answer, expected):
    assert evidence(answer) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Alice and Bob", ["Alice", "Bob"]),
        ("Alice Smith and Bob Jones", ["Alice Smith", "Bob Jones"]),
        ("- Paris\n- Berlin", ["Paris", "Berlin"]),
        ("1. Berlin\n2. Paris", ["Paris", "Berlin"]),
        ("The capital is Paris, which lies on the Seine.", ["Paris", "on the Seine"]),
    ],
)
def test_an_answer_of_several_pieces_has_several_spans(answer, expected):
    assert evidence(answer, question="What is the capital?") == expected


@pytest.mark.parametrize(
    "answer",
    [
        "Rome",
        "The capital of France is Rome.",
        "Paris and Rome",
        "1. Paris\n2. Rome",
        "3,645,001",
        "5 June 1990",
        "May 12",
        "€1,000",
        "12 men",
        "-900",
        "William",
        "John Brown",
        "john brown",
        "Mary Adams met John.",
        "United Nations",
    ],
)
def test_an_invented_name_or_number_is_not_supported(answer):
    assert ground(answer, CONTEXT, "What is the capital of France?") == UNSUPPORTED


def test_similar_names_and_numbers_are_told_apart():
    for answer, context in [
        ("Williams", "William came."),
        ("Johnston", "Johnson came."),
        ("Iraq", "Iran"),
        ("102", "10²"),
        ("10", "H10N1"),
        ("5", "5.5"),
        ("5", "it was -5 degrees"),
        ("hepatitis A", "hepatitis B"),
        ("vitamin d", "vitamin c"),
        ("World War I", "World War II"),
        ("Hà", "Hạ"),
        ("US", "They told us."),
        ("It was the WHO.", "The man who was ill."),
    ]:
        assert ground(answer, context) == UNSUPPORTED, answer


def test_numbers_of_the_question_need_evidence_too():
    question = "Which city had 7 bridges?"
    assert ground("Paris had 7 bridges.", CONTEXT, question) == UNSUPPORTED
    assert evidence("Paris had 7 bridges.", CONTEXT + " It has 7 bridges.", question) == ["Paris"]


def test_the_very_words_are_preferred_to_another_form_of_them():
    context = "A hard problem remains. Many hard problems remain. A hard problem is solved."
    assert evidence("It is about hard problems.", context, "What is solved?") == ["hard problems"]


def test_words_of_the_question_in_the_answer_need_no_evidence():
    assert evidence("The capital of Gaul is Paris.", question="What is the capital of Gaul?") == ["Paris"]


def test_the_occurrence_with_the_words_of_the_question_around_it_is_chosen():
    context = "In 1990 the bridge was planned. In 1990 the tower was opened by the queen. In 1990 the harbour closed."
    for question, number in [("When was the bridge planned?", 0), ("When was the tower opened?", 1), ("", 0)]:
        starts = [start for start in range(len(context)) if context.startswith("1990", start)]
        assert ground("1990", context, question).spans == (Span(starts[number], starts[number] + 4),)


@pytest.mark.parametrize(
    ("answer", "context", "expected"),
    [
        ("STRASSE", "In der Straße wohnt er.", "Straße"),
        ("istanbul", "Şimdi İSTANBUL'da.", "İSTANBUL"),
        ("ΑΘΗΝΑ", "Η Αθήνα είναι πόλη.", "Αθήνα"),
        ("ΟΔΟΣ", "η οδός εδώ", "οδός"),
        ("Мэннинг", "Он видел Мэннинга вчера.", "Мэннинга"),
        ("مانينغ", "قال ومانينغ ذلك", "ومانينغ"),
        ("٣٨", "He was 38 then.", "38"),
        ("कावन शॉर्ट", "टीम का नेतृत्व कावन शॉर्ट ने किया।", "कावन शॉर्ट"),
        ("คาวันน์ ชอร์ต", "ผู้เล่นคาวันน์ ชอร์ตนำทีม", "คาวันน์ ชอร์ต"),
        ("答案是约翰·埃尔维。", "四分卫约翰·埃尔维参加了比赛。", "约翰·埃尔维"),
        ("Nguyễn Huệ", "vua Nguye\u0302\u0303n Hue\u0323\u0302 lên ngôi", "Nguye\u0302\u0303n Hue\u0323\u0302"),
        ("１２３", "room 123", "123"),
        ("final", "the ﬁnal day", "ﬁnal"),
        ("cooperate", "they co\u00adoperate here", "co\u00adoperate"),
    ],
)  # fmt: skip
def test_languages_and_encodings_do_not_matter(answer, context, expected):
    assert evidence(answer, context) == [expected]


def test_characters_of_a_name_scattered_over_a_chinese_text_are_no_evidence():
    assert ground("李明", "李先生说明天来。", "谁来？") == UNSUPPORTED


@pytest.mark.parametrize("answer", ["Not in the context.", "NOT IN THE CONTEXT", "“not in the context”!"])
def test_the_no_answer_text_is_not_supported(answer):
    context = "He said that it was not in the context of the talk."
    assert ground(answer, context, no_answer_text="not in the context") == UNSUPPORTED
    assert ground(answer, context).supported


@pytest.mark.parametrize("answer", ["", " \n", "…!?", "the", "The answer is not given in the text."])
def test_an_answer_that_says_nothing_is_not_supported(answer):
    assert ground(answer, CONTEXT, "What is the capital?") == UNSUPPORTED


def test_yes_and_no_are_shown_the_sentence_closest_to_the_question():
    expected = ["Paris is the capital and largest city of France, on the Seine"]
    for answer in ("Yes", "no."):
        assert evidence(answer, question="Is Paris the capital of France?") == expected
    assert ground("Yes", CONTEXT, "Does cheese come from the moon?") == UNSUPPORTED
    assert ground("Yes", CONTEXT) == UNSUPPORTED


def test_a_copy_of_the_context_is_narrowed_to_the_sentence_of_the_question():
    assert evidence(CONTEXT, question="Whom did John Adams meet?") == ["John Adams met Mary Brown"]
    assert ground(CONTEXT, CONTEXT) == UNSUPPORTED


def test_an_empty_context_supports_nothing():
    for context in ("", "\n", "…"):
        assert ground("Paris", context, "Which city?", "") == UNSUPPORTED


def test_any_text_is_grounded_without_an_error():
    rng = random.Random(0)
    letters = [
        *'aB1é²½ßİς中国ـ한$%。•ﷺ㎏Ⅷ,-."(* \n\0', "the ", "1,000", "e\u0301", "\u0301", "\ud800", "\udc00", "\U0001f600",
        "น้ำ", "กิ", "क्ष", "لا", "\u1100\u1161", "U.S.", "yes", "I. ", "\u200b", "\u200d", "\ufe0f", "\U000e0100", "1) ",
        "\u2028",
    ]  # fmt: skip

    def text(longest):
        if rng.random() < 0.2:
            return "".join(chr(rng.randrange(sys.maxunicode + 1)) for _ in range(rng.randrange(longest)))
        return "".join(rng.choice(letters) + " " * rng.randrange(2) for _ in range(rng.randrange(longest)))

    for _ in range(1500):
        context = text(40)
        start = rng.randrange(len(context) + 1)
        answer = context[start : start + rng.randrange(12)] if rng.random() < 0.5 else text(12)
        check(ground(answer, context, text(8), rng.choice([None, "", text(4)])), context)


def test_every_stretch_of_words_of_a_text_is_found_at_a_place_that_reads_the_same():
    words = CONTEXT.split(" ")
    for start in range(len(words) - 3):
        answer = " ".join(words[start : start + 3])
        [text] = evidence(answer)
        assert text.strip(".,") == answer.strip(".,") or text in answer, answer


@pytest.mark.parametrize(
    ("answer", "context"),
    [
        ("中" * 500 + "国", "国" + "中" * 20_000),
        ("e " * 500 + "z", "e " * 20_000),
        ("a" + "\u0301" * 500, "a" + "\u0301" * 20_000),
        ("e " * 1001, "ee " * 10_000),
        ("x", "!" * 50_000),
        ("yes", '."' * 25_000),
        (", ".join(f"w{number}" for number in range(500)), " ".join(f"w{number % 500} x" for number in range(10_000))),
    ],
)
def test_repetitive_texts_are_grounded(answer, context):
    check(ground(answer, context, "e w1 x?"), context)


def test_maximal_runs_are_those_of_the_definition():
    rng = random.Random(1)
    for _ in range(500):
        wanted = "".join(rng.choice("ab") for _ in range(rng.randrange(10)))
        text = "".join(rng.choice("ab\0") for _ in range(rng.randrange(15)))
        found = [
            (start, end)
            for start in range(len(wanted))
            for end in range(start + 1, len(wanted) + 1)
            if wanted[start:end] in text
        ]
        longest = [run for run in found if not any(a <= run[0] and run[1] <= b and (a, b) != run for a, b in found)]
        assert maximal_runs(wanted, text) == longest
