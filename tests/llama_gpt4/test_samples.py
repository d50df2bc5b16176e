"""Answers of a model in training: those of transformers' greedy search, whoever shares the pass."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from llama_gpt4_kernels.reference import REFERENCE
from transformers import LlamaConfig, LlamaForCausalLM

from llama_gpt4.asked import Prompt
from llama_gpt4.model import Llama, initial_weights
from llama_gpt4.ranks import Ranks
from llama_gpt4.samples import Sample, greedy, read_samples, store_samples

from ..tiny_llama import tiny_llama

ALONE = Ranks(0, 0, 1, 1, torch.device("cpu"), "here")
MAX_TOKENS = 12
PROMPTS = [
    Prompt("", "", ids, None, MAX_TOKENS)
    for ids in ([1, 5, 9, 33], [1, 7], [1, 80, 81, 82, 83, 84, 3])
]


@pytest.fixture(autouse=True)
def process_group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def model() -> Llama:
    config = tiny_llama(initializer_std=0.3)
    model = Llama(config, REFERENCE, "none").train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(initial_weights(config, name, tuple(parameter.shape), seed=3))
    return model


def theirs(model: Llama, prompt: Prompt) -> list[int]:
    """What transformers finds, without an end."""
    described = model.config.to_hugging_face("float32", bos_id=1, eos_id=2, pad_id=None)
    other = LlamaForCausalLM(LlamaConfig(**described))
    other.load_state_dict(model.state_dict())
    other.generation_config.eos_token_id = None
    out = other.generate(torch.tensor([prompt.ids]), do_sample=False, max_new_tokens=MAX_TOKENS)
    return out[0, len(prompt.ids) :].tolist()


def test_they_are_those_of_transformers(model: Llama) -> None:
    answers = greedy(model, PROMPTS, -1, ALONE)
    assert answers == [theirs(model, prompt) for prompt in PROMPTS]
    assert model.training


def test_an_answer_ends_with_the_end_and_the_others_go_on(model: Llama) -> None:
    whole = [theirs(model, prompt) for prompt in PROMPTS]
    end = whole[0][3]
    expected = [ids[: ids.index(end) + 1] if end in ids else ids for ids in whole]
    assert len({len(ids) for ids in expected}) > 1
    assert greedy(model, PROMPTS, end, ALONE) == expected


def test_each_answer_has_a_limit_of_its_own(model: Llama) -> None:
    limits = (1, MAX_TOKENS, 5)
    prompts = [replace(p, answer_tokens=n) for p, n in zip(PROMPTS, limits, strict=True)]
    expected = [theirs(model, p)[: p.answer_tokens] for p in prompts]
    assert greedy(model, prompts, -1, ALONE) == expected


def test_a_rank_without_prompts_answers_nothing(model: Llama) -> None:
    assert greedy(model, [], 2, ALONE) == []


def test_a_file_holds_the_samples_of_a_step(tmp_path: Path) -> None:
    sample = Sample("a.json record 1", "问\u2028?", "答", "stop", None)
    store_samples(tmp_path, 7, [sample, sample])
    assert read_samples(tmp_path, 7) == [asdict(sample)] * 2
    assert read_samples(tmp_path, 8) == []
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["step-7.jsonl"]
