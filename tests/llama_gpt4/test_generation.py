"""Answers of a tiny model of `transformers` that knows three answers by heart and stops there."""

import functools
import gc
import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llama_gpt4.chat_tokens import Row
from llama_gpt4.decoding import DecodingConfig
from llama_gpt4.errors import InputError
from llama_gpt4.generation import Generator
from llama_gpt4.prompt import CHAT_TEMPLATE, render_prompt
from llama_gpt4.records import read_records
from llama_gpt4.tokenizer import Tokenizer, train_tokenizer

KNOWN = [
    ("What is the capital of France?", "", "Paris."),
    ("Add the numbers, please.", "2, 2", ' "4",  of course\nreally'),
    ("法国的首都是什么？", "", "巴黎 🙂。"),
]
MAX_POSITIONS = 384
GREEDY = DecodingConfig(max_new_tokens=32, temperature=0.0, top_p=1.0)
DRAWN = DecodingConfig(max_new_tokens=8, temperature=1.5, top_p=1.0)


@functools.cache
def trained_folder(base: Path, hidden_size: int = 32) -> Path:
    """A model folder below `base`, made once for all files of tests that ask for it."""
    # Continuous batching collects garbage at its end: not each time through all that is imported.
    gc.freeze()
    torch.set_num_threads(1)  # of a model this small, several threads only wait for each other
    folder = base / f"tiny_model_{hidden_size}"
    folder.mkdir()
    texts = [record.output for record in read_records("sample:en")[:40]]
    train_tokenizer([*texts, render_prompt("a", "b")], 700, folder / "tokenizer.model")
    ids = Tokenizer.load(folder / "tokenizer.model")
    ids.save(folder, chat_template=CHAT_TEMPLATE, max_tokens=MAX_POSITIONS)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=ids.vocab_size,
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=MAX_POSITIONS,
        bos_token_id=ids.bos_id,
        eos_token_id=ids.eos_id,
        pad_token_id=ids.unk_id,
    )
    model = LlamaForCausalLM(config)
    learn_by_heart(model, ids)
    model.save_pretrained(folder)
    return folder


def learn_by_heart(model: LlamaForCausalLM, ids: Tokenizer) -> None:
    prompts = ids.encode_prompts([render_prompt(question, input) for question, input, _ in KNOWN])
    answers = ids.encode_answers([answer for _, _, answer in KNOWN])
    longest = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
    rows = torch.zeros(len(KNOWN), longest, dtype=torch.long)
    labels = torch.full_like(rows, -100)
    for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        end = len(prompt) + len(answer)
        rows[i, :end] = torch.tensor(prompt + answer)
        labels[i, len(prompt) : end] = torch.tensor(answer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(200):
        loss = model(input_ids=rows, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.02:
            break
    assert loss.item() < 0.05, loss.item()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return trained_folder(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def generator(folder) -> Generator:
    return Generator.load(folder, "cpu")


def user(content, input=""):
    return {"role": "user", "content": content, **({"input": input} if input else {})}


def rows_of(generator, questions, samples=1):
    return [
        Row(key=question, sample=sample, prompt=generator.tokens.prompt([user(question)]))
        for question in questions
        for sample in range(samples)
    ]


def answer_all(generator, rows, decoding, batch_size, seed=0):
    batches = generator.answers(rows, decoding, seed, batch_size)
    return {(row.key, row.sample): answer for batch in batches for row, answer in batch}


QUESTIONS = [
    "What is the capital of France?",
    "Hi",
    "法国的首都是什么？",
    "Write a long story about a dragon, a princess and their garden. " * 4,
    "Why?",
]


def test_what_was_learned_comes_back_exactly_and_stops(generator):
    rows = [Row(q, 0, generator.tokens.prompt([user(q, input)])) for q, input, _ in KNOWN]
    answers = answer_all(generator, rows, GREEDY, 3)
    assert [answers[q, 0].text for q, _, _ in KNOWN] == [answer for _, _, answer in KNOWN]
    assert {answer.finish_reason for answer in answers.values()} == {"stop"}


def test_an_answer_that_is_cut_says_so(generator):
    question, _, answer = KNOWN[0]
    two = DecodingConfig(max_new_tokens=2, temperature=0.0, top_p=1.0)
    cut = answer_all(generator, rows_of(generator, [question]), two, 1)[question, 0]
    assert cut.finish_reason == "length"
    assert answer.startswith(cut.text) and cut.text != answer


@pytest.mark.parametrize("decoding", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_a_batch_gives_what_one_by_one_gives(generator, decoding):
    rows = rows_of(generator, QUESTIONS, samples=1 if decoding is GREEDY else 2)
    alone = answer_all(generator, rows, decoding, 1)
    assert alone == answer_all(generator, rows, decoding, 4)
    assert alone == answer_all(generator, rows[::-1], decoding, len(rows))
    assert len(alone) == len(rows)


@pytest.mark.parametrize("decoding", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_a_model_that_has_to_be_padded_gives_the_same(generator, folder, decoding):
    padded = Generator.load(folder, "cpu")
    assert padded.pad_id != 300
    padded.pad_id = 300
    rows = rows_of(generator, QUESTIONS, samples=1 if decoding is GREEDY else 2)
    limited = [(row, decoding.max_new_tokens) for row in rows]
    found = {
        (row.key, row.sample): padded.tokens.answer(ids)
        for batch in padded._padded(limited, decoding, 0, 7)
        for row, ids in batch
    }
    assert found == answer_all(generator, rows, decoding, 7)


def test_samples_differ_and_the_seed_brings_them_back(generator):
    rows = rows_of(generator, QUESTIONS[:2], samples=4)
    drawn = answer_all(generator, rows, DRAWN, 8, seed=5)
    assert len({drawn["Hi", sample].text for sample in range(4)}) > 1
    assert answer_all(generator, rows, DRAWN, 8, seed=5) == drawn
    assert answer_all(generator, rows, DRAWN, 8, seed=6) != drawn


def test_a_longer_limit_only_adds_to_a_drawn_answer(generator):
    rows = rows_of(generator, ["Hi"])
    longer = DecodingConfig(max_new_tokens=20, temperature=1.5, top_p=1.0)
    short = answer_all(generator, rows, DRAWN, 1)["Hi", 0].text
    long = answer_all(generator, rows, longer, 1)["Hi", 0].text
    assert long.startswith(short.rstrip("\ufffd"))


def test_a_stream_is_the_same_answer_in_pieces(generator):
    for question, input, answer in KNOWN:
        pieces: list[str] = []
        row = Row("any", 0, generator.tokens.prompt([user(question, input)]))
        whole = generator.stream(row, GREEDY, 0, pieces.append)
        assert "".join(pieces) == whole.text == answer
        assert "\ufffd" not in "".join(pieces)
        assert len([piece for piece in pieces if piece]) > 1


def copy_with(folder, tmp_path, **files):
    """A copy of a model folder; a file becomes the given text, or goes if it is None."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for name, text in files.items():
        path = copy / name.replace("__", ".")
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
    return copy


def test_damaged_weights_are_refused(folder, tmp_path):
    copy = copy_with(folder, tmp_path)
    weights = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError, match="cannot be loaded"):
        Generator.load(copy, "cpu")
    (copy / "model.safetensors").unlink()
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        Generator.load(copy, "cpu")
    assert "\n" not in str(caught.value)


def test_a_missing_weight_is_not_made_up(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    deeper = json.dumps(config | {"num_hidden_layers": 3})
    with pytest.raises(InputError, match=r"lacks the weight model\.layers\.2\."):
        Generator.load(copy_with(folder, tmp_path, config__json=deeper), "cpu")


def test_decoding_that_a_model_brings_along_changes_nothing(folder, tmp_path, generator):
    theirs = {"do_sample": True, "temperature": 9.0, "repetition_penalty": 5.0, "max_length": 3}
    own = json.loads((folder / "generation_config.json").read_text())
    copy = copy_with(folder, tmp_path, generation_config__json=json.dumps(own | theirs))
    rows = rows_of(generator, QUESTIONS[:2])
    theirs_answers = answer_all(Generator.load(copy, "cpu"), rows, GREEDY, 2)
    assert theirs_answers == answer_all(generator, rows, GREEDY, 2)


def test_the_positions_of_the_model_are_the_last_limit(generator):
    short = rows_of(generator, ["Hi"])[0]
    long = Row("long", 0, short.prompt + [300] * (MAX_POSITIONS - 5 - len(short.prompt)))
    noise = DecodingConfig(max_new_tokens=12, temperature=1e6, top_p=1.0)
    both = answer_all(generator, [short, long], noise, 2)
    assert both == {
        **answer_all(generator, [short], noise, 1),
        **answer_all(generator, [long], noise, 1),
    }
    assert both["long", 0].finish_reason == "length"
    assert len(both["long", 0].text) < len(both["Hi", 0].text)


def test_cuda_is_not_replaced_by_something_slower(folder):
    if torch.cuda.is_available():
        assert answer_all(Generator.load(folder, "cuda"), [], GREEDY, 1) == {}
    else:
        with pytest.raises(InputError, match="device=cuda"):
            Generator.load(folder, "cuda")
