"""Shares of the traffic: what is refused, what is left for others, and how evenly they are kept to."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.deployment.endpoints.traffic import Split, check_traffic, parse_traffic, with_share
from components.core.errors import ConfigError

NAMES = ["demo", "candidate"]


def test_shares_are_read_from_words():
    assert parse_traffic(["demo=90", "candidate=10"]) == {"demo": 90, "candidate": 10}


@pytest.mark.parametrize("word", ["demo", "demo=", "=10", "demo=9.5", "demo=-1", "demo=ten", "demo=٣"])
def test_what_is_no_whole_number_is_refused(word):
    with pytest.raises(ConfigError, match="is no share of the traffic. Write NAME=PERCENT"):
        parse_traffic([word])


def test_a_name_that_stands_twice_is_refused():
    with pytest.raises(ConfigError, match="demo stands twice"):
        parse_traffic(["demo=50", "demo=50"])


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"demo": 90, "candidate": 9}, r"must sum to 100, and 90 \+ 9 is 99"),
        ({"demo": 90, "candidate": 20}, r"must sum to 100, and 90 \+ 20 is 110"),
        ({}, "must sum to 100, and nothing is 0"),
        ({"demo": 120, "candidate": -20}, "from 0 to 100, not demo=120, candidate=-20"),
        ({"demo": 90, "other": 10}, r"there is no deployment other \(there are: demo, candidate\)"),
    ],
)
def test_a_wrong_split_is_refused(shares, message):
    with pytest.raises(ConfigError, match=message):
        check_traffic(shares, NAMES)


def test_a_right_split_is_taken():
    check_traffic({"demo": 100}, NAMES)
    check_traffic({"demo": 0, "candidate": 100}, NAMES)


def test_others_share_the_rest_in_the_proportion_that_they_have():
    assert with_share({"demo": 100}, "candidate", 10) == {"demo": 90, "candidate": 10}
    assert with_share({"a": 60, "b": 30, "candidate": 10}, "candidate", 50) == {"a": 33, "b": 17, "candidate": 50}
    assert with_share({"demo": 50, "candidate": 50}, "candidate", 0) == {"demo": 100}
    assert with_share({"demo": 90, "candidate": 10}, "candidate", 100) == {"candidate": 100}


def test_who_has_everything_can_share_with_nobody():
    with pytest.raises(ConfigError, match="there is no other deployment to share it with"):
        with_share({"candidate": 100}, "candidate", 50)


@given(
    st.dictionaries(st.sampled_from("abcdefg"), st.integers(1, 60), min_size=1),
    st.integers(0, 100),
)
def test_the_shares_always_sum_to_100(others, percent):
    assert sum(with_share(others, "candidate", percent).values()) == 100


@given(st.integers(0, 2**64 - 1), st.integers(0, 100), st.integers(1, 4))
def test_any_500_requests_lie_within_two_points_also_for_callers_who_take_turns(start, percent, every):
    split, shares = Split(start), {"demo": 100 - percent, "candidate": percent}
    chosen = [split.choose(shares) for _ in range(500 * every)][::every]
    assert abs(Counter(chosen)["candidate"] / 5 - percent) <= 2


def test_nobody_is_chosen_where_nobody_has_traffic():
    assert Split().choose({}) is None
    assert Split().choose({"demo": 0}) is None


def test_one_with_all_of_the_traffic_gets_every_request():
    split = Split()
    assert {split.choose({"demo": 100, "candidate": 0}) for _ in range(1000)} == {"demo"}
