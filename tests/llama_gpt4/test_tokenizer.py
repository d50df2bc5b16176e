"""Ids are SentencePiece's and transformers', an answer comes back whole, and text is only text."""

import importlib.util
import json
import os
import random
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer

from llama_gpt4.errors import InputError
from llama_gpt4.tokenizer import Tokenizer, train_tokenizer

TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
ENGLISH = """Below is an instruction that describes a task. Write a response that completes it.
What are the three primary colors? The primary colors are red, yellow and blue.
    for i in range(10):\n        print("hello", i)  # prints a greeting\n
In 1969, 12 people  had  walked on the Moon?  No: 2 did; 10 more came by 1972. 😀 It's 3.14!"""
CHINESE = """以下是描述任务的指令。请写出一个适当完成请求的回答。
中国的首都是北京，人口约2189万。今天天气很好，我们去公园散步吧！
保持健康的三个提示：均衡饮食、规律运动、充足睡眠。"""
UNSEEN = "龘 ञ \U0001f9ff"
ADVERSARIAL = [
    *('"4"', "- a", "// c", "(x)", "```py\n```", " lead", "  two", "\n", "\n\n\nx ", "", " ", "\t"),
    *(
        "</s>",
        "<s>",
        "<unk>x</s></s>",
        "<0x0A>",
        "▁",
        "▁▁ ▂▃▁",
        "e\u0301",
        "\u3000。",
        "👩\u200d👧",
    ),
    *("\r\n", "\x00", "\ufffd", "a" * 300, " " * 40 + "x"),
]
REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")


def texts_of_all_kinds(n: int, seed: int) -> list[str]:
    """Random mixtures of what tokenizers get wrong."""
    draw = random.Random(seed)
    words = (ENGLISH + " " + CHINESE).split()
    kinds: list[Callable[[], str]] = [
        lambda: " " * draw.randint(1, 40),
        lambda: draw.choice(["\n", "\n\n", "\t", "\r\n", " \n ", "\u00a0", "\u3000", "\u200b"]),
        lambda: draw.choice(words),
        lambda: draw.choice(words) + " ",
        lambda: str(draw.randrange(10**9)),
        lambda: draw.choice("😀👍🏽👩‍👩‍👧🇨🇳中文龘ञéñßЖ"),
        lambda: draw.choice("aeo") + draw.choice("\u0301\u0308\u0323"),
        lambda: chr(draw.choice([*range(32), 127, 0x85, 0xFFFD, 0xFEFF, 0x10FFFF])),
        lambda: draw.choice(["</s>", "<s>", "<unk>", "<0x0A>", "[INST]", "▁", "▁▁a"]),
        lambda: draw.choice("ab=-*#.哈") * draw.randint(1, 40),
        lambda: chr(draw.randrange(0x20, 0xD800)),
        lambda: draw.choice(["```", '"', "'", "(", ")", "//", ":", "，", "。", "“", "”"]),
    ]
    return ["".join(draw.choice(kinds)() for _ in range(draw.randint(0, 12))) for _ in range(n)]


def names_no_special_token(text: str) -> bool:
    return not any(name in text for name in ("<s>", "</s>", "<unk>"))


@pytest.fixture(scope="module")
def trained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "tokenizer.model"
    train_tokenizer([ENGLISH, CHINESE], 520, path)
    return path


@pytest.fixture(scope="module")
def mistral_model() -> Path:
    """32,000 pieces of the LLaMA kind, runs of spaces of one score among them."""
    spec = importlib.util.find_spec("mistral_common")  # imports nothing
    assert spec and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "data" / "tokenizer.model.v1"


@pytest.fixture(scope="module", params=["trained", "mistral"])
def model_file(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(f"{request.param}_model")


@pytest.fixture(scope="module")
def tokenizer(model_file: Path) -> Tokenizer:
    return Tokenizer.load(model_file)


@pytest.fixture(scope="module")
def trained(trained_model: Path) -> Tokenizer:
    return Tokenizer.load(trained_model)


def spec_of(tokenizer: Tokenizer, folder: Path) -> dict:
    """The tokenizer.json that `save` writes."""
    tokenizer.save(folder, chat_template=TEMPLATE, max_tokens=512)
    return json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))


def write_json(folder: Path, spec: object, **config: object) -> Path:
    """A folder that holds a tokenizer.json and its configuration only."""
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    if config:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def train_sentencepiece(**options: Any) -> bytes:
    model = BytesIO()
    lines = (ENGLISH + "\n" + CHINESE).split("\n") * 3
    values: dict[str, Any] = {
        "model_type": "bpe",
        "vocab_size": 520,
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "hard_vocab_limit": False,
        "num_threads": 1,
        "minloglevel": 2,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, **(values | options)
    )
    return model.getvalue()


# Training


def test_training_twice_gives_the_same_bytes(trained_model: Path, tmp_path: Path) -> None:
    train_tokenizer(iter([ENGLISH, CHINESE]), 520, tmp_path / "tokenizer.model")
    assert (tmp_path / "tokenizer.model").read_bytes() == trained_model.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.model"]


def test_a_trained_tokenizer_has_llamas_special_tokens(trained: Tokenizer) -> None:
    assert (trained.unk_id, trained.bos_id, trained.eos_id) == (0, 1, 2)
    assert 259 < trained.vocab_size <= 520


def test_a_trained_tokenizer_splits_digits_and_spells_what_it_never_saw(trained: Tokenizer) -> None:
    assert len(trained.encode("1969")) == 5  # the dummy prefix is one
    assert len(trained.encode_answers(["1969"])[0]) == 4 + 1
    assert trained.decode(trained.encode(UNSEEN)) == UNSEEN
    assert len(trained.encode_answers(["龘"])[0]) == 3 + 1
    assert max(trained.encode(UNSEEN)) < trained.vocab_size and 0 not in trained.encode(UNSEEN)


@pytest.mark.parametrize("text", ["a\nb", "\n\n\n", "\na\n\n b\n", "a\n    b\r\n\tc"])
def test_newlines_survive(trained: Tokenizer, text: str) -> None:
    assert trained.decode(trained.encode(text)) == text
    assert trained.encode(text).count(3 + ord("\n")) == text.count("\n")


def test_little_text_gives_a_smaller_vocabulary(tmp_path: Path) -> None:
    train_tokenizer(["hello"], 5000, tmp_path / "tokenizer.model")
    assert 259 < Tokenizer.load(tmp_path).vocab_size < 300


def test_a_line_of_any_length_is_trained_on(tmp_path: Path) -> None:
    train_tokenizer(["ж " * 10_000], 400, tmp_path / "tokenizer.model")
    assert len(Tokenizer.load(tmp_path).encode("ж")) == 1


@pytest.mark.parametrize("vocab_size", [0, 100, 280])
def test_a_vocabulary_without_room_for_the_characters_is_refused(
    tmp_path: Path, vocab_size: int
) -> None:
    with pytest.raises(InputError, match=rf"tokenizer\.vocab_size={vocab_size} .* 3\d\d pieces"):
        train_tokenizer([ENGLISH, CHINESE], vocab_size, tmp_path / "tokenizer.model")
    assert not list(tmp_path.iterdir())


def test_training_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.files"):
        train_tokenizer(["", "\n"], 300, tmp_path / "tokenizer.model")


# The same ids as others


def test_ids_and_texts_are_those_of_sentencepiece(tokenizer: Tokenizer, model_file: Path) -> None:
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(model_file))
    for text in texts_of_all_kinds(3000, seed=1) + ADVERSARIAL:
        expected = theirs.encode(text)
        assert tokenizer.encode(text) == expected, repr(text)
        assert tokenizer.encode_prompts([text]) == [[tokenizer.bos_id, *expected]]
        assert tokenizer.decode(expected) == theirs.decode(expected), repr(text)


def test_any_ids_have_the_text_that_sentencepiece_gives(
    tokenizer: Tokenizer, model_file: Path
) -> None:
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(model_file))
    draw = random.Random(2)
    for _ in range(1000):
        # No byte pieces: `tokenizers` gives up a whole run of them where one is invalid.
        ids = [draw.randrange(259, tokenizer.vocab_size) for _ in range(draw.randint(0, 20))]
        ids = draw.sample([*ids, tokenizer.bos_id, tokenizer.eos_id], len(ids) + 2)
        assert tokenizer.decode(ids) == theirs.decode(ids), ids


def test_runs_of_spaces_merge_from_the_left(mistral_model: Path) -> None:
    ours = Tokenizer.load(mistral_model)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(mistral_model))
    for n in range(1, 120):
        for text in (" " * n, "a" + " " * n + "b", "\n" + " " * n + "。", ("x" + " " * n) * 3):
            assert ours.encode(text) == theirs.encode(text), (n, text)


def test_a_model_without_a_dummy_prefix_stays_without(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(train_sentencepiece(add_dummy_prefix=False))
    ours = Tokenizer.load(tmp_path)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    for text in texts_of_all_kinds(300, seed=3):
        assert ours.encode(text) == theirs.encode(text)
        assert ours.decode(theirs.encode(text)) == theirs.decode(theirs.encode(text))


def test_transformers_gives_the_same_ids_and_texts(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path, chat_template=TEMPLATE, max_tokens=777)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')  # it must not choose the class
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs.chat_template == TEMPLATE and theirs.model_max_length == 777
    assert (theirs.bos_token_id, theirs.eos_token_id) == (tokenizer.bos_id, tokenizer.eos_id)
    assert theirs.pad_token_id == theirs.unk_token_id == tokenizer.unk_id
    assert theirs.padding_side == "right" and len(theirs) == tokenizer.vocab_size

    # transformers reads the name of a special token in a text as that token; ours never does.
    texts = list(filter(names_no_special_token, texts_of_all_kinds(3000, seed=4) + ADVERSARIAL))
    assert len(texts) > 1500
    ours = tokenizer.encode_prompts(texts)
    assert theirs(texts)["input_ids"] == ours
    for text, ids in zip(texts, ours, strict=True):
        assert theirs.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids), repr(text)


# An answer comes back whole


def check_answers(tokenizer: Tokenizer, answers: list[str], prompt: str = "Q: 1\n\nA:") -> None:
    """What is learned is the answer and its end, whatever it begins with."""
    (start,) = tokenizer.encode_prompts([prompt])
    for answer, ids in zip(answers, tokenizer.encode_answers(answers), strict=True):
        assert ids[-1] == tokenizer.eos_id and ids.count(tokenizer.eos_id) == 1, repr(answer)
        assert tokenizer.bos_id not in ids
        assert tokenizer.decode(ids, continuation=True) == answer, repr(answer)
        assert tokenizer.decode(start + ids) == prompt + answer, repr(answer)


@settings(max_examples=300, deadline=None)
@given(answer=st.text(max_size=60), prompt=st.text(min_size=1, max_size=20))
@example(answer=" ", prompt="Response:")
@example(answer='"4"', prompt="Response:")
def test_an_answer_comes_back_whole(trained: Tokenizer, answer: str, prompt: str) -> None:
    check_answers(trained, [answer], prompt.replace("\u2581", "_"))  # a prompt's means a space


def test_adversarial_answers_come_back_whole(tokenizer: Tokenizer) -> None:
    check_answers(tokenizer, ADVERSARIAL + texts_of_all_kinds(1000, seed=5))


def test_an_answer_does_not_depend_on_its_batch(trained: Tokenizer) -> None:
    alone = [trained.encode_answers([answer])[0] for answer in ADVERSARIAL]
    assert trained.encode_answers(ADVERSARIAL) == alone
    assert trained.encode_answers([]) == trained.encode_prompts([]) == []


def test_the_end_of_sequence_is_one_id_and_no_text(trained: Tokenizer, tmp_path: Path) -> None:
    backend = Backend.from_str(json.dumps(spec_of(trained, tmp_path)))
    assert backend.id_to_token(trained.eos_id) == "</s>"
    assert backend.encode("</s>", add_special_tokens=False).ids == [trained.eos_id]
    assert trained.eos_id not in trained.encode("a</s>b") + trained.encode("</s>")
    assert trained.decode([trained.bos_id, trained.eos_id]) == ""


# Tokenizers that come as tokenizer.json


def test_json_gives_the_ids_of_the_model_it_was_made_of(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    spec_of(tokenizer, tmp_path)
    (tmp_path / "tokenizer.model").unlink()
    again = Tokenizer.load(tmp_path)
    assert again.fingerprint() == tokenizer.fingerprint()
    texts = texts_of_all_kinds(300, seed=6) + ADVERSARIAL
    assert again.encode_prompts(texts) == tokenizer.encode_prompts(texts)
    assert again.encode_answers(texts) == tokenizer.encode_answers(texts)
    assert Tokenizer.load(tmp_path / "tokenizer.json").fingerprint() == tokenizer.fingerprint()


@pytest.mark.parametrize("scheme", ["first", "always"])
def test_a_prefix_of_the_pre_tokenizer_is_left_out_of_answers(
    trained: Tokenizer, tmp_path: Path, scheme: str
) -> None:
    backend = Backend.from_str(json.dumps(spec_of(trained, tmp_path / "legacy")))
    backend.normalizer = None
    mark = "\u2581"
    backend.pre_tokenizer = pre_tokenizers.Metaspace(mark, prepend_scheme=scheme, split=False)
    ours = Tokenizer.load(write_json(tmp_path / "new", json.loads(backend.to_str())))
    assert ours.encode("the sky") == trained.encode("the sky")
    assert ours.encode_answers(["the"]) == trained.encode_answers(["the"])
    check_answers(ours, ADVERSARIAL + texts_of_all_kinds(300, seed=7))

    backend.decoder = decoders.Sequence(
        [decoders.Metaspace(mark, prepend_scheme=scheme), decoders.ByteFallback(), decoders.Fuse()]
    )
    ours = Tokenizer.load(write_json(tmp_path / "newer", json.loads(backend.to_str())))
    check_answers(ours, ADVERSARIAL)


def byte_level_spec() -> dict:
    """LLaMA-3's kind: special tokens behind the vocabulary, no <unk>, whole words first."""
    backend = Backend(models.BPE(ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        [ENGLISH, CHINESE] * 3,
        trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False),
    )
    backend.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>"])
    return json.loads(backend.to_str())


@pytest.fixture
def byte_level(tmp_path: Path) -> Path:
    names = {"bos_token": "<|begin_of_text|>", "eos_token": {"content": "<|end_of_text|>"}}
    return write_json(tmp_path / "llama3", byte_level_spec(), **names)


def test_a_byte_level_tokenizer_needs_no_unk_and_no_prefix(
    byte_level: Path, tmp_path: Path
) -> None:
    ours = Tokenizer.load(byte_level)
    assert ours.unk_id is None and ours.vocab_size == ours.eos_id + 1 == ours.bos_id + 2
    answers = ADVERSARIAL + texts_of_all_kinds(300, seed=8) + ["<|end_of_text|>"]
    check_answers(ours, answers)
    assert [ids[:-1] for ids in ours.encode_answers(answers)] == [ours.encode(a) for a in answers]

    ours.save(tmp_path / "saved", chat_template=TEMPLATE, max_tokens=512)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert theirs(ADVERSARIAL)["input_ids"] == ours.encode_prompts(ADVERSARIAL)
    assert theirs.pad_token is None and theirs.unk_token is None
    assert Tokenizer.load(tmp_path / "saved").fingerprint() == ours.fingerprint()


def test_a_tokenizer_model_that_is_not_sentencepiece_gives_way_to_json(byte_level: Path) -> None:
    before = Tokenizer.load(byte_level).fingerprint()
    (byte_level / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\nIw== 2\n")  # as tiktoken's is
    assert Tokenizer.load(byte_level).fingerprint() == before


def test_merges_that_spell_a_special_token_are_not_used(trained: Tokenizer, tmp_path: Path) -> None:
    spec = spec_of(trained, tmp_path)
    pairs = ["< /", "s >", "</ s>", "< 0", "x 0", "x0 A", "x0A >", "<0 x0A>"]
    spec["model"]["merges"] = merges = [pair.split() for pair in pairs]
    vocab = spec["model"]["vocab"]
    for name in (name for pair in merges for name in (*pair, "".join(pair))):
        vocab.setdefault(name, len(vocab))
    assert Backend.from_str(json.dumps(spec | {"added_tokens": []})).encode("</s>").ids[-1] == 2

    ours = Tokenizer.load(write_json(tmp_path / "spelled", spec))
    assert ours.encode_answers(["</s>"]) == [[vocab["</"], vocab["s>"], ours.eos_id]]
    assert ours.encode_answers(["<0x0A>"]) == [[vocab["<0"], vocab["x0A>"], ours.eos_id]]
    check_answers(ours, ["</s>", "<0x0A>", "a</s>"])


def test_truncation_and_dropout_of_a_file_are_not_taken_over(
    trained: Tokenizer, tmp_path: Path
) -> None:
    spec = spec_of(trained, tmp_path)
    spec["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst",
                          "stride": 0}  # fmt: skip
    spec["model"]["dropout"] = 0.9
    ours = Tokenizer.load(write_json(tmp_path / "cut", spec))
    assert ours.encode_prompts([ENGLISH, ""]) == trained.encode_prompts([ENGLISH, ""])
    assert ours.encode_answers([ENGLISH]) == trained.encode_answers([ENGLISH])


def test_plain_added_tokens_of_a_file_are_used(trained: Tokenizer, tmp_path: Path) -> None:
    backend = Backend.from_str(json.dumps(spec_of(trained, tmp_path)))
    backend.add_tokens([AddedToken("<tool>", normalized=False)])
    ours = Tokenizer.load(write_json(tmp_path / "more", json.loads(backend.to_str())))
    assert ours.vocab_size == trained.vocab_size + 1
    assert trained.vocab_size in ours.encode("a <tool>")
    check_answers(ours, ["<tool>", "<tool>\n"])
    assert ours.fingerprint() != trained.fingerprint()


@pytest.mark.parametrize("file", ["added_tokens.json", "tokenizer.json"])
def test_tokens_added_beside_a_model_count(
    trained_model: Path, trained: Tokenizer, tmp_path: Path, file: str
) -> None:
    shutil.copy(trained_model, tmp_path / "tokenizer.model")
    pad: dict[str, Any] = {"id": trained.vocab_size, "content": "[PAD]"}
    values = {"[PAD]": pad["id"]} if file == "added_tokens.json" else {"added_tokens": [pad]}
    (tmp_path / file).write_text(json.dumps(values))
    ours = Tokenizer.load(tmp_path)
    assert ours.vocab_size == trained.vocab_size + 1
    assert ours.encode("[PAD]") == trained.encode("[PAD]")
    assert ours.decode([pad["id"], *ours.encode("a")]) == "a"
    ours.save(tmp_path / "saved", chat_template=TEMPLATE, max_tokens=512)
    assert Tokenizer.load(tmp_path / "saved").fingerprint() == ours.fingerprint()
    assert len(AutoTokenizer.from_pretrained(tmp_path / "saved")) == ours.vocab_size


def test_fingerprints_tell_tokenizers_apart(trained: Tokenizer, tmp_path: Path) -> None:
    train_tokenizer([ENGLISH, CHINESE], 500, tmp_path / "other.model")
    assert Tokenizer.load(tmp_path / "other.model").fingerprint() != trained.fingerprint()
    trained.save(tmp_path, chat_template="a", max_tokens=1)
    assert Tokenizer.load(tmp_path).fingerprint() == trained.fingerprint()
    swapped = write_json(
        tmp_path / "swapped", spec_of(trained, tmp_path), bos_token="</s>", eos_token="<s>"
    )
    assert Tokenizer.load(swapped).fingerprint() != trained.fingerprint()


@pytest.mark.skipif(REAL_DATA is None, reason="LLAMA_GPT4_REAL_DATA names no folder")
def test_llamas_own_vocabulary_and_real_records() -> None:
    llama = Tokenizer.load(Path(REAL_DATA or "") / "llama_tokenizer")
    assert llama.encode_prompts(["Hello world"]) == [[1, 15043, 3186]]
    assert (llama.unk_id, llama.bos_id, llama.eos_id, llama.vocab_size) == (0, 1, 2, 32000)
    check_answers(llama, ADVERSARIAL)
    for language in ("en", "zh"):
        file = Path(REAL_DATA or "") / f"alpaca_gpt4_{language}.json"
        records = json.loads(file.read_text(encoding="utf-8"))
        check_answers(llama, [record["output"] for record in records])


# Bad input


def change(model_file: Path, folder: Path, edit: Callable[[ModelProto], None]) -> Path:
    """A folder with the model after `edit`."""
    model = ModelProto.FromString(model_file.read_bytes())
    edit(model)
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    return folder


def test_a_missing_tokenizer_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "no.model"):
        with pytest.raises(InputError, match=r"tokenizer\.path") as error:
            Tokenizer.load(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"IQ== 0\nIg== 1\n", b"\x00\xff" * 50])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(InputError, match=r"tokenizer\.model is not .*: put a tokenizer\.json"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"model_type": "unigram", "vocab_size": 400}, "is not BPE"),
        ({"byte_fallback": False, "vocab_size": 300}, "lacks byte pieces"),
        ({"user_defined_symbols": ["<tool>"]}, "has user-defined or unused pieces"),
        ({"normalization_rule_name": "nmt_nfkc"}, "changes characters"),
        ({"remove_extra_whitespaces": True}, "treats spaces unlike LLaMA's"),
        ({"treat_whitespace_as_suffix": True}, "treats spaces unlike LLaMA's"),
    ],
)
def test_a_model_that_cannot_be_converted_exactly_is_refused(
    tmp_path: Path, options: dict[str, object], fault: str
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(train_sentencepiece(**options))
    with pytest.raises(InputError, match=rf"tokenizer\.model {fault}, so its ids cannot"):
        Tokenizer.load(tmp_path)


def test_pieces_of_equal_score_are_refused(trained_model: Path, tmp_path: Path) -> None:
    def tie(model: ModelProto) -> None:
        long = [
            piece for piece in model.pieces if piece.type == 1 and len(piece.piece.strip("▁")) > 1
        ]
        long[0].score = long[1].score

    with pytest.raises(InputError, match="has pieces of equal score"):
        Tokenizer.load(change(trained_model, tmp_path, tie))


def test_a_model_without_bos_is_refused(trained_model: Path, tmp_path: Path) -> None:
    def lose(model: ModelProto) -> None:
        model.trainer_spec.bos_piece = "<start>"

    with pytest.raises(InputError, match=r"tokenizer\.model: BOS '<start>' and EOS '</s>' must"):
        Tokenizer.load(change(trained_model, tmp_path, lose))


@pytest.mark.parametrize(
    "config",
    [
        {"bos_token": "</s>"},
        {"bos_token": "<start>"},
        {"eos_token": "<end>"},
        {"bos_token": {"content": "</s>"}, "eos_token": {"content": "</s>"}},
    ],
)
def test_bos_and_eos_must_exist_and_differ(
    trained: Tokenizer, tmp_path: Path, config: dict[str, object]
) -> None:
    folder = write_json(tmp_path / "wrong", spec_of(trained, tmp_path), **config)
    with pytest.raises(InputError, match=r"tokenizer\.json: BOS .* two different tokens") as error:
        Tokenizer.load(folder)
    assert "\n" not in str(error.value)


def test_empty_names_of_early_conversions_do_not_hide_the_real_ones(
    trained: Tokenizer, tmp_path: Path
) -> None:
    names = {"bos_token": "", "eos_token": "", "unk_token": ""}
    ours = Tokenizer.load(write_json(tmp_path / "early", spec_of(trained, tmp_path), **names))
    assert (ours.bos_id, ours.eos_id, ours.unk_id) == (1, 2, 0)


@pytest.mark.parametrize("text", ["", "not JSON", "[1]", '{"model": 3}'])
def test_a_broken_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(InputError, match=r"tokenizer\.json is not a tokenizer\.json") as error:
        Tokenizer.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_broken_configuration_is_refused(trained: Tokenizer, tmp_path: Path) -> None:
    folder = write_json(tmp_path / "broken", spec_of(trained, tmp_path))
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(InputError, match=r"tokenizer_config\.json is no JSON object"):
        Tokenizer.load(folder)


def test_another_algorithm_is_refused(tmp_path: Path) -> None:
    backend = Backend(models.WordLevel({"<s>": 0, "</s>": 1}, unk_token="<s>"))
    with pytest.raises(InputError, match="is not a BPE tokenizer"):
        Tokenizer.load(write_json(tmp_path / "words", json.loads(backend.to_str())))


def test_an_added_id_that_leaves_a_gap_is_refused(trained_model: Path, tmp_path: Path) -> None:
    shutil.copy(trained_model, tmp_path / "tokenizer.model")
    (tmp_path / "added_tokens.json").write_text('{"[PAD]": 32000}')
    with pytest.raises(InputError, match=r"differ on '\[PAD\]'"):
        Tokenizer.load(tmp_path)
