"""How likely a response is, against transformers, alone and among others."""

from pathlib import Path

import pytest
import torch
from llama_gpt4_data.dpo_model import Policy
from llama_gpt4_data.groups import Group
from llama_gpt4_data.reward_model import apart
from llama_gpt4_kernels.reference import REFERENCE
from torch import Tensor
from transformers import LlamaConfig as HuggingFaceConfig
from transformers import LlamaForCausalLM

from llama_gpt4.model import Llama

from ..tiny_llama import tiny_llama

LENGTHS, ANSWERS = (9, 5, 14, 2), (4, 1, 13, 1)
APART = tuple(Group(n - k, (k,)) for n, k in zip(LENGTHS, ANSWERS, strict=True))


@pytest.fixture(scope="module")
def policy() -> Policy:
    torch.manual_seed(0)
    model = Policy(tiny_llama(), REFERENCE, "none")
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    return model.double()


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    return torch.randint(3, 97, (sum(LENGTHS),), generator=torch.Generator().manual_seed(1))


def test_it_is_the_sum_over_the_response_alone(policy: Policy, tokens: Tensor) -> None:
    described = policy.config.to_hugging_face("float32", bos_id=1, eos_id=2, pad_id=None)
    theirs = LlamaForCausalLM(HuggingFaceConfig(**described)).double()
    theirs.load_state_dict(policy.state_dict())
    ours = policy(tokens, APART)
    truth = []
    for ids, answer in zip(tokens.split(LENGTHS), ANSWERS, strict=True):
        each = theirs(ids[None]).logits[0, :-1].log_softmax(-1).gather(1, ids[1:, None])
        truth.append(each[-answer:].sum())
    assert torch.allclose(ours, torch.stack(truth), atol=1e-10)
    weights = torch.tensor([0.5, -2.0, 1.0, 3.0], dtype=torch.float64)
    (ours * weights).sum().backward()
    (torch.stack(truth) * weights).sum().backward()
    for (name, mine), (_, their) in zip(
        policy.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert mine.grad is not None and their.grad is not None
        assert (mine.grad - their.grad).abs().max() <= 1e-6 * their.grad.abs().max(), name


def test_neighbours_do_not_matter(policy: Policy, tokens: Tensor) -> None:
    with torch.no_grad():
        together = policy(tokens, APART)
        alone = [
            policy(ids, (group,)) for ids, group in zip(tokens.split(LENGTHS), APART, strict=True)
        ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-12)


def test_a_prompt_that_responses_share_is_as_if_it_came_with_each(policy: Policy) -> None:
    groups = (Group(5, (4, 1, 7)), Group(1, (1, 3)), Group(8, (2,)), Group(3, (1,) * 9))
    n = sum(group.tokens for group in groups)
    tokens = torch.randint(3, 97, (n,), generator=torch.Generator().manual_seed(2))
    single = tuple(Group(group.prompt, (k,)) for group in groups for k in group.responses)
    found = []
    for ids, given in ((tokens, groups), (torch.cat(apart(tokens, groups)), single)):
        likely = policy(ids, given)
        loss = (likely * torch.linspace(-1, 2, len(likely))).sum()
        found.append((likely, *torch.autograd.grad(loss, [*policy.parameters()])))
    for one, other in zip(*found, strict=True):
        assert (one - other).abs().max() <= 1e-12 * other.abs().max()


def test_a_rank_without_responses_takes_part(policy: Policy) -> None:
    policy.zero_grad()
    found = policy(torch.zeros(1, dtype=torch.int64), (Group(1, (0,)),))
    assert found.tolist() == [0.0]
    found.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in policy.parameters())


def test_its_parameters_are_the_language_models(policy: Policy, tmp_path: Path) -> None:
    assert policy.state_dict().keys() == Llama(policy.config, REFERENCE, "none").state_dict().keys()
