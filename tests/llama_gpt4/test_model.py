from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from llama_gpt4_kernels.fused import FUSED
from llama_gpt4_kernels.operators import Operators
from llama_gpt4_kernels.reference import REFERENCE
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaForCausalLM
from transformers import LlamaConfig as HuggingFaceConfig

from llama_gpt4.architecture import LlamaConfig, model_flops, parameter_shapes
from llama_gpt4.model import Llama, initial_weights
from llama_gpt4.recompute import LAYER_RUNNERS

from ..tiny_llama import tiny_llama

LLAMA1 = tiny_llama(n_kv_heads=4, initializer_std=0.2)
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
FAMILY = {
    "llama1": LLAMA1,
    "grouped_query": replace(LLAMA1, n_kv_heads=2, head_size=16),
    "llama3": replace(LLAMA1, n_kv_heads=2, rope_theta=5e5, rope_scaling=LLAMA3),
    "linear": replace(LLAMA1, rope_scaling={"rope_type": "linear", "factor": 4.0}),
    "tied": replace(LLAMA1, tie_embeddings=True),
}
LENGTHS = (19, 1, 40, 7)


def build(config: LlamaConfig, recompute: str = "none", ops: Operators = REFERENCE) -> Llama:
    model = Llama(config, ops, recompute)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(initial_weights(config, name, tuple(parameter.shape), seed=1))
            if parameter.dim() == 1:  # norm weights of one would hide that they are used
                parameter.add_(torch.linspace(-0.3, 0.3, len(parameter)))
    return model


def batch(lengths: tuple[int, ...] = LENGTHS, vocab_size: int = 97) -> dict[str, Any]:
    """Random documents; in each, the second half of the tokens is learned."""
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(vocab_size, (sum(lengths),), generator=generator)
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    rows = torch.cat(
        [torch.arange(s + n // 2, s + n - 1) for s, n in zip(starts, lengths, strict=True) if n > 2]
    )
    return {
        "tokens": tokens,
        "positions": torch.cat([torch.arange(n) for n in lengths]),
        "document_lengths": lengths,
        "target_rows": rows,
        "targets": tokens[rows + 1],
        "weights": torch.rand(len(rows), generator=generator) / len(rows),
    }


def logits(model: Llama, tokens: Tensor, lengths: tuple[int, ...]) -> Tensor:
    with torch.no_grad():
        return model(tokens, torch.cat([torch.arange(n) for n in lengths]), lengths)


def gradients(model: torch.nn.Module, loss: Tensor) -> dict[str, Tensor]:
    named = dict(model.named_parameters())
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


def hugging_face(model: Llama) -> LlamaForCausalLM:
    # With a pad_token_id transformers drops that token's gradient: <unk> would never be learned.
    described = model.config.to_hugging_face("float32", bos_id=1, eos_id=2, pad_id=None)
    theirs = LlamaForCausalLM(HuggingFaceConfig(**described))
    theirs.load_state_dict(model.state_dict())
    return theirs.train()


def hugging_face_loss(theirs: LlamaForCausalLM, given: dict[str, Any]) -> Tensor:
    """The same documents one after the other, each alone."""
    parts = [theirs(x[None]).logits[0] for x in given["tokens"].split(given["document_lengths"])]
    nll = F.cross_entropy(
        torch.cat(parts)[given["target_rows"]], given["targets"], reduction="none"
    )
    return (nll * given["weights"]).sum()


@pytest.mark.parametrize("name", FAMILY)
def test_logits_loss_and_every_gradient_are_hugging_faces(name: str) -> None:
    model, given = build(FAMILY[name]), batch()
    theirs = hugging_face(model)
    ours = logits(model, given["tokens"], LENGTHS)
    for mine, alone in zip(ours.split(LENGTHS), given["tokens"].split(LENGTHS), strict=True):
        true = theirs(alone[None]).logits[0].detach()
        assert (mine - true).abs().max() <= 1e-5 * max(1.0, true.abs().max())
    loss, their_loss = model(**given), hugging_face_loss(theirs, given)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(their_loss.item(), rel=1e-5)
    mine, true = gradients(model, loss), gradients(theirs, their_loss)
    assert mine.keys() == true.keys() == parameter_shapes(FAMILY[name]).keys()
    for key, value in true.items():
        assert (mine[key] - value).abs().max() <= 1e-5 * value.abs().max(), key


@pytest.mark.parametrize("name", FAMILY)
def test_the_state_dict_is_the_checkpoint(name: str, tmp_path: Path) -> None:
    model, given = build(FAMILY[name]), batch()
    shapes = {key: tuple(value.shape) for key, value in model.named_parameters()}
    assert list(shapes) == list(parameter_shapes(FAMILY[name]))
    assert shapes == parameter_shapes(FAMILY[name])
    assert not list(model.buffers())
    hugging_face(model).save_pretrained(tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert isinstance(theirs, LlamaForCausalLM)
    alone = given["tokens"][:19]
    true = theirs(alone[None]).logits[0].detach()
    assert torch.allclose(logits(model, alone, (19,)), true, rtol=1e-5, atol=1e-5)


def test_a_packed_document_is_what_it_is_alone() -> None:
    model, tokens = build(FAMILY["grouped_query"]), batch()["tokens"]
    packed = logits(model, tokens, LENGTHS).split(LENGTHS)
    for mine, document in zip(packed, tokens.split(LENGTHS), strict=True):
        assert torch.allclose(mine, logits(model, document, (len(document),)), rtol=0, atol=1e-5)


def test_a_neighbour_changes_nothing() -> None:
    model, tokens = build(LLAMA1), batch()["tokens"]
    mine = slice(20, 60)
    before = logits(model, tokens, LENGTHS)[mine]
    tokens[:20], tokens[60:] = (tokens[:20] + 1) % 97, 5
    assert torch.equal(logits(model, tokens, LENGTHS)[mine], before)


def test_the_future_changes_nothing() -> None:
    model, tokens = build(LLAMA1), batch()["tokens"]
    before = logits(model, tokens, LENGTHS)[20:50]
    tokens[50:60] = 3
    assert torch.equal(logits(model, tokens, LENGTHS)[20:50], before)


@pytest.mark.parametrize("name", FAMILY)
def test_fused_operators_train_as_the_reference_does(name: str) -> None:
    reference, fused = build(FAMILY[name]), build(FAMILY[name], ops=FUSED)
    given = batch((9, 1, 5))  # Triton's interpreter is slow
    true, loss = reference(**given), fused(**given)
    assert loss.item() == pytest.approx(true.item(), rel=1e-6)
    mine, theirs = gradients(fused, loss), gradients(reference, true)
    for key, value in theirs.items():
        assert (mine[key] - value).abs().max() <= 1e-5 * value.abs().max(), key


def test_every_step_is_repeatable() -> None:
    model, given = build(LLAMA1), batch()
    one, other = gradients(model, model(**given)), gradients(model, model(**given))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("recompute", LAYER_RUNNERS)
@pytest.mark.parametrize("name", ["llama1", "tied"])
def test_a_rank_without_targets_still_has_every_gradient(name: str, recompute: str) -> None:
    model, given = build(FAMILY[name], recompute), batch()
    for key in ("target_rows", "targets", "weights"):
        given[key] = given[key][:0]
    loss = model(**given)
    assert loss.item() == 0
    assert all(torch.count_nonzero(value) == 0 for value in gradients(model, loss).values())


def test_one_token_and_one_target() -> None:
    model = build(LLAMA1)
    one = torch.tensor([5])
    zero = torch.tensor([0])
    loss = model(one, zero, (1,), zero, torch.tensor([7]), torch.ones(1))
    true = F.cross_entropy(logits(model, one, (1,)), torch.tensor([7]))
    assert loss.item() == pytest.approx(true.item(), rel=1e-6)


def test_targets_split_into_micro_batches_add_up() -> None:
    model, given = build(LLAMA1), batch()
    whole = gradients(model, model(**given))
    total = {key: torch.zeros_like(value) for key, value in whole.items()}
    for chosen in (given["target_rows"] < 30, given["target_rows"] >= 30):
        part = {key: given[key][chosen] for key in ("target_rows", "targets", "weights")}
        for key, value in gradients(model, model(**{**given, **part})).items():
            total[key] += value
    for key, value in whole.items():
        assert (total[key] - value).abs().max() <= 1e-5 * value.abs().max(), key


def test_bf16_turns_by_exact_positions() -> None:
    """Angles in bf16 would confuse positions beyond 256; the loss would be far off."""
    config = replace(LLAMA1, n_layers=1, max_positions=4096)
    exact, low = build(config), build(config).to(torch.bfloat16)
    tokens = torch.randint(97, (3,))
    positions = torch.tensor([3001, 3002, 3003])
    with torch.no_grad():
        for parameter, rounded in zip(exact.parameters(), low.parameters(), strict=True):
            parameter.copy_(rounded)
        true, ours = exact(tokens, positions, (3,)), low(tokens, positions, (3,))
        shifted = exact(tokens, positions // 8 * 8, (3,))  # what bf16 makes of these positions
    error = (ours - true).abs().max()
    assert ours.dtype == torch.bfloat16
    assert error < 0.05 * true.abs().max() and error < (shifted - true).abs().max()
    given = batch()
    loss = low(**given)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact(**given).item(), rel=2e-2)
    assert all(value.dtype == torch.bfloat16 for value in gradients(low, loss).values())


def test_lengths_must_fill_the_tokens() -> None:
    given = batch()
    with pytest.raises(AssertionError):
        build(LLAMA1)(**{**given, "document_lengths": (19, 1)})


def test_starting_weights_follow_from_seed_and_name() -> None:
    name, shape = "model.layers.0.mlp.up_proj.weight", (256, 128)
    one = initial_weights(LLAMA1, name, shape, seed=1)
    assert torch.equal(one, initial_weights(LLAMA1, name, shape, seed=1))
    assert not torch.equal(one, initial_weights(LLAMA1, name, shape, seed=2))
    assert not torch.equal(one, initial_weights(LLAMA1, name.replace("0", "1"), shape, seed=1))
    assert one.std().item() == pytest.approx(0.2, rel=0.02)
    assert abs(one.mean().item()) < 0.01
    for norm in ("model.norm.weight", "model.layers.0.input_layernorm.weight"):
        assert torch.equal(initial_weights(LLAMA1, norm, (8,), seed=1), torch.ones(8))


def _attention_by_query(q: Tensor, k: Tensor, v: Tensor, documents: Any) -> Tensor:
    """Each token attends to itself and what came before by two products: countable, not fast."""
    mixed, start = [], 0
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    for length in documents.lengths:
        for place in range(start, start + length):
            past = slice(start, place + 1)
            scores = torch.bmm(q[place][:, None], k[past].permute(1, 2, 0))  # (H, 1, t)
            mixed.append(torch.bmm(scores.softmax(-1), v[past].transpose(0, 1))[:, 0])
        start += length
    return torch.stack(mixed)


@pytest.mark.parametrize("name", ["llama1", "grouped_query"])
def test_model_flops_are_what_the_operators_do(name: str) -> None:
    config, lengths = FAMILY[name], (5, 1, 9)
    model = Llama(config, replace(REFERENCE, attention=_attention_by_query), "none")
    model.load_state_dict(build(config).state_dict())
    given = batch(lengths)
    with FlopCounterMode(display=False) as counter:
        model(**given).backward()
    squared = sum(n * n for n in lengths)
    expected = model_flops(config, sum(lengths), squared, len(given["targets"]))
    assert counter.get_total_flops() == expected
