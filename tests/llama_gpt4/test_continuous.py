"""Continuous batching: an answer is its own, whoever is made beside it and whenever it begins."""

import gc

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

from llama_gpt4 import continuous
from llama_gpt4.chat_tokens import Row
from llama_gpt4.continuous import PAGE_TOKENS, STEP_TOKENS, answered, can_run
from llama_gpt4.decoding import DecodingConfig
from llama_gpt4.drawing import draws
from llama_gpt4.errors import InputError

END = 2
GREEDY = DecodingConfig(max_new_tokens=40, temperature=0.0, top_p=1.0)
DRAWN = DecodingConfig(max_new_tokens=40, temperature=1.0, top_p=0.9)
SMALL = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = SMALL | {"intermediate_size": 64, "num_key_value_heads": 2}


def made(kind: str):
    """A small model with weights so large that its answers are lively."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    gc.freeze()  # the library looks through what is left after each run
    model = {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA, initializer_range=0.3)),
        "mistral": lambda: MistralForCausalLM(
            MistralConfig(**LLAMA, sliding_window=24, initializer_range=0.3)
        ),
        "opt": lambda: OPTForCausalLM(
            OPTConfig(**SMALL, ffn_dim=64, word_embed_proj_dim=32, init_std=0.3)
        ),
        "bloom": lambda: BloomForCausalLM(BloomConfig(vocab_size=96, hidden_size=32, n_layer=1)),
        "mamba": lambda: MambaForCausalLM(
            MambaConfig(vocab_size=96, hidden_size=32, num_hidden_layers=1)
        ),
    }[kind]()
    return model.eval()


def rows_of(lengths: list[int]) -> list[tuple[Row, int]]:
    """Prompts of these lengths, which share their beginning, with limits that differ."""
    source = torch.Generator().manual_seed(1)
    ids = torch.randint(3, 96, (max(lengths) + 1,), generator=source).tolist()
    return [
        (Row(key=f"q{place}", sample=0, prompt=[*ids[:length], 3 + place]), 12 + 7 * place % 29)
        for place, length in enumerate(lengths)
    ]


@pytest.mark.gpu
def test_on_a_gpu_as_on_a_cpu():
    model = made("llama")
    rows = rows_of([3, 40, 1, 70, 9, 40])
    expected = [ids_of(model, rows, decoding, 4) for decoding in (GREEDY, DRAWN)]
    model = model.to("cuda")
    assert [ids_of(model, rows, decoding, 4) for decoding in (GREEDY, DRAWN)] == expected


def ids_of(model, rows, decoding, batch_size, seed=5):
    batches = answered(model, {END}, rows, decoding, seed, batch_size)
    return {row.key: ids for batch in batches for row, ids in batch}


def one_by_one(model, rows):
    """What plain greedy steps without any cache come to."""
    found = {}
    for row, limit in rows:
        ids = list(row.prompt)
        while len(ids) < len(row.prompt) + limit and ids[-1] != END:
            with torch.inference_mode():
                ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        found[row.key] = ids[len(row.prompt) :]
    return found


@pytest.mark.parametrize("kind", ["llama", "mistral", "opt"])
def test_answers_are_those_of_plain_steps(kind):
    model = made(kind)
    rows = rows_of([3, 40, 1, 70, 9, 40])
    expected = one_by_one(model, rows)
    assert len({tuple(ids) for ids in expected.values()}) == len(rows), "they would prove nothing"
    assert can_run(model)
    assert ids_of(model, rows, GREEDY, 4) == expected


def test_drawn_answers_do_not_depend_on_company_or_order():
    model = made("llama")
    rows = rows_of([3, PAGE_TOKENS, 1, 70, 9, 2 * PAGE_TOKENS])
    alone = {key: ids for row in rows for key, ids in ids_of(model, [row], DRAWN, 1).items()}
    assert ids_of(model, rows, DRAWN, 2) == alone
    assert ids_of(model, rows[::-1], DRAWN, 16) == alone
    assert ids_of(model, rows, DRAWN, 16, seed=6) != alone
    assert all(
        ids[-1] == END or len(ids) == limit
        for (_, limit), ids in zip(rows, alone.values(), strict=True)
    )


def test_a_prompt_longer_than_a_step_is_read_in_several():
    model = made("llama")
    rows = rows_of([STEP_TOKENS + 30, 5])
    assert ids_of(model, rows, GREEDY, 2) == one_by_one(model, rows)


def test_each_token_has_its_own_random_number():
    rows = {str(place): row for place, (row, _) in enumerate(rows_of([4, 9]))}
    draw = continuous.DrawPerRequest(rows, {"0": 8, "1": 8}, DRAWN, 7)

    class State:
        """Of a request, as far as it is looked at."""

        def __init__(self, id: str, initial: int, generated: int) -> None:
            self.state, self.request_id = self, id
            self.initial_tokens, self._generated = [0] * initial, generated

        def generated_len(self) -> int:
            return self._generated

    requests = [State("0", 5, 3), State("1", 10, 0), State("0", 5 + 3, 1)]
    numbers = draw.prepare_tensor_args(requests).view(torch.float32)
    first, second = (draws(7, rows[id], 8) for id in "01")
    assert numbers.tolist() == [first[3], second[0], first[4]], "the last had to leave the cache"


def test_models_whose_attention_reads_no_paged_cache_are_known():
    assert not can_run(made("bloom"))
    assert not can_run(made("mamba"))


def test_what_does_not_fit_into_memory_is_one_line():
    model = made("llama")
    with pytest.raises(InputError, match=r"^batch_size=100000000 does not fit .* lower it$"):
        ids_of(model, rows_of([3]), GREEDY, 100_000_000)
    assert len(ids_of(model, rows_of([3]), GREEDY, 1)) == 1, "the model is as it was"


def test_a_failure_of_the_library_is_not_swallowed():
    model = made("llama")
    row, limit = rows_of([3])[0]
    wrong = Row(key="wrong", sample=0, prompt=[*row.prompt, 10_000])
    with pytest.raises(IndexError):
        ids_of(model, [(row, limit), (wrong, limit)], GREEDY, 2)


def test_who_stops_reading_stops_the_library():
    model = made("llama")
    batches = answered(model, {END}, rows_of([3] * 6), GREEDY, 0, 1)
    next(batches)
    batches.close()
    assert len(ids_of(model, rows_of([3]), GREEDY, 1)) == 1
