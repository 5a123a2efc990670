import threading

import pytest

from ui.contract import Answer
from ui.problems import Problem
from ui.reception import Reception

LONG = 10.0


def collect(reception: Reception) -> str:
    text = ""
    while not reception.done:
        text += reception.wait(LONG)
    return text


def test_text_and_answer_are_collected():
    def pieces():
        yield "Mark"
        yield " Kraltosund"
        yield Answer(response="Mark Kraltosund")

    reception = Reception(pieces())
    assert collect(reception) == "Mark Kraltosund"
    assert (reception.answer.response, reception.problem) == ("Mark Kraltosund", None)


def test_a_problem_comes_after_the_text_before_it():
    def pieces():
        yield "Mark"
        raise Problem("cut", "Broken off")

    reception = Reception(pieces())
    assert collect(reception) == "Mark"
    assert (reception.answer, reception.problem.kind) == (None, "cut")


def test_a_fault_of_our_own_is_not_swallowed():
    def pieces():
        yield "Mark"
        raise ZeroDivisionError("a fault")

    with pytest.raises(ZeroDivisionError, match="a fault"):
        collect(Reception(pieces()))


def test_waiting_for_a_silent_endpoint_ends_and_closing_hangs_up_at_the_next_piece():
    goes_on, hung_up = threading.Event(), threading.Event()

    def pieces():
        try:
            yield "Mark"
            goes_on.wait(LONG)
            yield " never seen"
            raise AssertionError("went on after the page had left")
        finally:
            hung_up.set()

    reception = Reception(pieces())
    assert reception.wait(LONG) == "Mark"
    assert reception.wait(0.01) == ""
    assert not reception.done
    reception.close()
    goes_on.set()
    assert hung_up.wait(LONG)
    assert collect(reception) == ""
