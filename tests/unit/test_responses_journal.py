import json

import pytest

from components.core.errors import ConfigError
from components.core.responses.journal import Journal


def test_answers_are_there_after_a_kill_and_half_a_line_is_dropped(tmp_path):
    folder = tmp_path / "work"
    with Journal(folder) as journal:
        journal.note(0, 0, "zwölf\nlines")
        journal.note(1, 3, "")
        # what a kill leaves: no `with` block ended, and a line was cut
        with (folder / "answers.jsonl").open("ab") as file:
            file.write(b'{"row": 2, "rep')
    with Journal(folder) as journal:
        assert journal.known == {(0, 0): "zwölf\nlines", (1, 3): ""}
        journal.note(2, 0, "new")
    lines = (folder / "answers.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in lines] == [0, 1, 2]


def test_two_runs_cannot_answer_the_same_at_once(tmp_path):
    with Journal(tmp_path / "work"), pytest.raises(ConfigError, match="another run"), Journal(tmp_path / "work"):
        pass


def test_the_first_note_of_what_the_target_held_counts(tmp_path):
    with Journal(tmp_path / "work") as journal:
        assert journal.begin_writing("a", 7) == 7
    with Journal(tmp_path / "work") as journal:
        assert journal.begin_writing("a", 11) == 7
        assert journal.begin_writing("b", 3) == 3
        journal.remove()
    assert not (tmp_path / "work").exists()
