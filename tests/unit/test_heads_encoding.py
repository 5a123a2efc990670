"""Texts, pairs and words as token ids, for tokenizers of every shape that models come in."""

import json

import pytest
from support.small_tokenizers import byte_level, sentence_piece
from support.tiny_encoder import word_piece

from components.core.errors import ConfigError, StorageError
from components.core.tasks.heads import Head, InputEncoder, pair_joiner
from components.core.tasks.heads.encoding import NO_TOKEN


def unigram():
    """A SentencePiece Unigram with its control tokens in the vocabulary, like XLM-R's and DeBERTa's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    pieces = [("<pad>", 0.0), ("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), ("▁", -2.0), ("▁the", -2.5), ("▁York", -3.0)]
    pieces += [(letter, -4.0) for letter in "abcdefghijklmnopqrstuvwxyzNY0123456789[]</>."]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=1))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    tokenizer.add_special_tokens(["<pad>", "<unk>", "<s>", "</s>", "<mask>"])
    return tokenizer


def words_only():
    """One token for each known word, as tests and old models have it."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["<unk>", "<s>", "</s>", "the", "York"]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


TOKENIZERS = {
    "byte_level": lambda: byte_level().backend_tokenizer,
    "sentence_piece": lambda: sentence_piece().backend_tokenizer,
    "sentence_piece_always": lambda: sentence_piece("always").backend_tokenizer,
    "unigram": unigram,
    "word_piece": word_piece,
    "words_only": words_only,
}
ROWS = [
    ["Novgorod", "is", "far", ",", "the", "New", "York", "of", "1281"],
    ["a"],
    ["\u200b", "river", "\u200b", "km"],
    ["New York", "don't", "x-ray", "U.S.A.", "[SEP]", "</s>", "<s>"],
    ["caf\u00e9", "\U0001f600\U0001f600", "stra\u00dfe", "\u4e2d\u6587", "\ufb01nd", "I\u0307stanbul"],
    ["a" * 70, "b", "c" * 31],
    [f"word{n}" for n in range(40)],
]


def make(tokenizer, tmp_path, length=24, task="ner", **changes):
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    labels = ["O", "B-X", "I-X"] if task == "ner" else ["a", "b"]
    values = {"task": task, "labels": labels, "columns": {}, "max_seq_length": length, "pad_token_id": 0}
    head = Head.model_validate(values | {"token_type_ids": False} | changes)
    return InputEncoder(tmp_path, head)


@pytest.fixture(params=list(TOKENIZERS))
def tokenizer(request):
    return TOKENIZERS[request.param]()


def text_of(tokenizer, ids):
    """The characters of tokens, without marks of spaces."""
    return tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "").replace("##", "").lower()


def test_every_word_is_read_once_at_a_place_inside_its_piece(tokenizer, tmp_path):
    encoded = make(tokenizer, tmp_path).encode_words(ROWS)
    for number, row in enumerate(ROWS):
        pieces = [piece for piece in encoded.pieces if piece.row == number]
        starts = [piece.first_word for piece in pieces]
        assert starts == [sum(len(piece.words) for piece in pieces[:n]) for n in range(len(pieces))]
        assert sum(len(piece.words) for piece in pieces) == len(row)
        for piece in pieces:
            assert 1 <= len(piece.input_ids) <= 24
            assert len(piece.token_type_ids) == len(piece.input_ids)
            places = [place for place in piece.words if place != NO_TOKEN]
            assert places == sorted(set(places))
            assert all(0 <= place < len(piece.input_ids) for place in places)


@pytest.mark.parametrize("name", [name for name in TOKENIZERS if name != "words_only"])
def test_a_word_is_read_at_its_last_token(tmp_path, name):
    """A word's tokens, up to its place, spell the row up to that word."""
    row, tokenizer = ["the", "york", "of", "the", "north"], TOKENIZERS[name]()
    encoder = make(tokenizer, tmp_path, length=200)
    (piece,) = encoder.encode_words([row]).pieces
    before = len(encoder._before)
    for number, place in enumerate(piece.words):
        spelled = text_of(tokenizer, piece.input_ids[before : place + 1])
        assert spelled == "".join(row[: number + 1]).lower()


def test_words_are_encoded_as_the_whole_text_is(tokenizer, tmp_path):
    row = ["the", "river", "is", "far", "from", "york"]
    (piece,) = make(tokenizer, tmp_path, length=200).encode_words([row]).pieces
    assert piece.input_ids == tokenizer.encode(" ".join(row)).ids


def test_pieces_hold_all_tokens_of_the_row(tokenizer, tmp_path):
    encoder = make(tokenizer, tmp_path)
    encoded = encoder.encode_words([ROWS[6]])
    inner = [
        token
        for piece in encoded.pieces
        for token in piece.input_ids[len(encoder._before) : len(piece.input_ids) - len(encoder._after)]
    ]
    assert inner == tokenizer.encode(" ".join(ROWS[6]), add_special_tokens=False).ids
    assert encoded.cut == [False]


@pytest.mark.parametrize("name", ["byte_level", "sentence_piece", "unigram", "word_piece"])
def test_a_word_longer_than_an_input_loses_its_end_and_keeps_its_place(tmp_path, name):
    encoded = make(TOKENIZERS[name](), tmp_path).encode_words([["a", "q7" * 40, "b"]])
    assert encoded.cut == [True]
    long = next(piece for piece in encoded.pieces if piece.first_word <= 1 < piece.first_word + len(piece.words))
    assert len(long.input_ids) == 24
    assert long.words[1 - long.first_word] != NO_TOKEN
    assert sum(len(piece.words) for piece in encoded.pieces) == 3


def test_a_word_of_nothing_has_no_token_and_takes_nobody_elses(tmp_path):
    from tokenizers import normalizers

    tokenizer = word_piece()  # drops control and format characters, as BERT does
    tokenizer.normalizer = normalizers.Sequence([normalizers.BertNormalizer(), normalizers.Replace("\u200b", "")])
    encoded = make(tokenizer, tmp_path).encode_words([["\u200b", "red", "\u200b", "green", "\u200b"], ["\u200b"]])
    assert encoded.pieces[0].words == [NO_TOKEN, 1, NO_TOKEN, 2, NO_TOKEN]
    assert encoded.pieces[1].words == [NO_TOKEN]
    assert encoded.pieces[1].input_ids == [2, 3]


def test_an_input_has_at_least_one_token(tmp_path):
    encoder = make(byte_level().backend_tokenizer, tmp_path, task="single_label", pad_token_id=7)
    assert encoder.encode_texts([""], [None]).pieces[0].input_ids == [7]


@pytest.mark.parametrize("name", ["[SEP]", "[CLS]", "[MASK]", "</s>", "<s>", "<mask>", "<|im_end|>"])
def test_the_name_of_a_control_token_is_plain_text(tokenizer, tmp_path, name):
    encoder = make(tokenizer, tmp_path, length=200, task="single_label")
    (piece,) = encoder.encode_texts([f"the {name} of"], [None]).pieces
    inner = piece.input_ids[len(encoder._before) : len(piece.input_ids) - len(encoder._after)]
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    unknown = {tokenizer.token_to_id(token) for token in ("<unk>", "[UNK]")}
    assert not (special - unknown) & set(inner)
    (words,) = make(tokenizer, tmp_path, length=200).encode_words([["the", name, "of"]]).pieces
    assert words.input_ids == piece.input_ids


def test_text_without_such_names_is_encoded_as_by_the_tokenizer_itself(tokenizer, tmp_path):
    texts = ["The river is 312 km long.", "the York of the north", "", "  two  spaces\nand a line "]
    encoder = make(tokenizer, tmp_path, length=200, task="single_label")
    encoded = encoder.encode_texts(texts, [None] * len(texts))
    for text, piece in zip(texts, encoded.pieces, strict=True):
        assert piece.input_ids == (tokenizer.encode(text).ids or [0])


def test_ids_of_other_added_tokens_stay(tmp_path):
    tokenizer = unigram()
    tokenizer.add_tokens(["kilometre"])
    encoder = make(tokenizer, tmp_path, length=200, task="single_label")
    (piece,) = encoder.encode_texts(["the kilometre"], [None]).pieces
    assert tokenizer.token_to_id("kilometre") in piece.input_ids


def test_a_pair_is_marked_as_the_tokenizer_does(tmp_path):
    tokenizer = word_piece()
    encoder = make(tokenizer, tmp_path, length=200, task="single_label", token_type_ids=True)
    encoded = encoder.encode_texts(["red", "red"], ["blue", None])
    expected = tokenizer.encode("red", "blue")
    assert encoded.pieces[0].input_ids == expected.ids
    assert encoded.pieces[0].token_type_ids == expected.type_ids
    assert encoded.pieces[1].token_type_ids == [0, 0, 0]


def test_a_pair_is_joined_where_the_tokenizer_has_no_mark(tmp_path):
    tokenizer = byte_level()
    assert pair_joiner(tokenizer) == "\n"
    encoder = make(tokenizer.backend_tokenizer, tmp_path, length=200, task="single_label", pair_joiner="\n")
    (piece,) = encoder.encode_texts(["one"], ["two"]).pieces
    assert piece.input_ids == tokenizer("one\ntwo")["input_ids"]


@pytest.mark.parametrize("pair", [None, "blue " * 3])
def test_what_is_cut_is_the_end_of_the_longer_text_and_it_is_said(tmp_path, pair):
    encoder = make(word_piece(), tmp_path, length=12, task="single_label")
    encoded = encoder.encode_texts(["red " * 30, "red"], [pair, pair])
    red, blue = (word_piece().token_to_id(word) for word in ("red", "blue"))
    assert encoded.cut == [True, False]
    assert len(encoded.pieces[0].input_ids) == 12
    assert encoded.pieces[0].input_ids.count(blue) == (3 if pair else 0)
    assert encoded.pieces[0].input_ids.count(red) == (6 if pair else 10)
    assert encoded.pieces[0].input_ids[-1] == 3


def test_a_text_of_just_the_limit_is_not_cut(tmp_path):
    encoder = make(word_piece(), tmp_path, length=12, task="single_label")
    encoded = encoder.encode_texts(["red " * 10, "red " * 11], [None, None])
    assert encoded.cut == [False, True]


def test_a_limit_that_holds_no_pair_is_refused(tmp_path):
    encoder = make(word_piece(), tmp_path, length=3, task="single_label")
    assert len(encoder.encode_texts(["red green"], [None]).pieces[0].input_ids) == 3
    with pytest.raises(ConfigError, match="max_seq_length=3: leaves no room beside 3 special tokens"):
        encoder.encode_texts(["red"], ["green"])


def test_a_vocabulary_without_an_unknown_word_is_refused_by_name(tmp_path):
    tokenizer = words_only()
    content = json.loads(tokenizer.to_str())
    content["model"] = {"type": "WordLevel", "vocab": {"<s>": 1, "</s>": 2, "a": 3}, "unk_token": "<none>"}
    content["added_tokens"] = []
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    head = Head(task="ner", labels=["O"], columns={}, max_seq_length=9, pad_token_id=0, token_type_ids=False)
    encoder = InputEncoder(tmp_path, head)
    with pytest.raises(StorageError, match="tokenizer cannot read a row"):
        encoder.encode_words([["b"]])
    with pytest.raises(StorageError, match="tokenizer cannot read a row"):
        encoder.encode_texts(["b"], [None])


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"model": 1}'])
def test_a_broken_tokenizer_is_refused_by_its_file(tmp_path, content):
    head = Head(task="ner", labels=["O"], columns={}, max_seq_length=9, pad_token_id=0, token_type_ids=False)
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(StorageError, match=r"cannot load .*tokenizer\.json"):
        InputEncoder(tmp_path, head)


def test_a_missing_tokenizer_is_refused_by_its_file(tmp_path):
    head = Head(task="ner", labels=["O"], columns={}, max_seq_length=9, pad_token_id=0, token_type_ids=False)
    with pytest.raises(StorageError, match=r"cannot load .*tokenizer\.json"):
        InputEncoder(tmp_path, head)
