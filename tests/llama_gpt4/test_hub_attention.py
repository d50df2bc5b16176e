"""A model of `transformers` that attends to documents is the one that reads each alone."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from llama_gpt4.hub_attention import MODEL_TYPES, NAME, hidden_states, implementation

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 97,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
MORE: dict[str, dict[str, Any]] = {
    "opt": {"word_embed_proj_dim": 32, "ffn_dim": 64, "init_std": 0.3},
    "gpt_neox": {"intermediate_size": 64},
    "qwen2": {"intermediate_size": 64, "num_key_value_heads": 2},
    "qwen3": {"intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 12},
}


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_documents_are_what_they_are_alone(model_type: str) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **SIZES, **MORE[model_type])
    model = AutoModel.from_config(config).double().eval()
    prompt, *responses = torch.randint(3, 97, (16,)).split([5, 7, 4])
    with torch.no_grad():
        rows = [torch.cat([prompt, response])[None] for response in responses]
        first, second = (model(row, use_cache=False).last_hidden_state[0] for row in rows)
        name = implementation(config)
        assert name == NAME
        model.set_attn_implementation(name)
        positions = torch.tensor([*range(12), *range(5, 9)])
        tokens, prefixes = torch.cat([prompt, *responses]), (range(0), range(5))
        found = hidden_states(model, tokens, positions, (12, 4), prefixes)
    truth = torch.cat([first, second[5:]])
    assert float((found - truth).abs().max()) < 1e-12 and float(truth.std()) > 0.1


def test_a_window_or_an_unknown_model_keeps_its_own_attention() -> None:
    assert implementation(AutoConfig.for_model("bloom")) is None
    slides = AutoConfig.for_model("qwen2", use_sliding_window=True, sliding_window=16)
    assert implementation(slides) is None


def test_layers_may_be_computed_again() -> None:
    """As `model.recompute=full` has it."""
    torch.manual_seed(0)
    config = AutoConfig.for_model("opt", dropout=0.0, **SIZES, **MORE["opt"])
    model = AutoModel.from_config(config, attn_implementation=implementation(config))
    tokens, positions = torch.randint(3, 97, (16,)), torch.tensor([*range(12), *range(5, 9)])
    seed, found = torch.randn(16, 32), []
    for recomputed in (False, True):
        if recomputed:
            model.train().gradient_checkpointing_enable()
        hidden = hidden_states(model, tokens, positions, (12, 4), (range(0), range(5)))
        found.append(torch.autograd.grad(hidden, [*model.parameters()], seed))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
