"""A reward depends on prompt and response alone: not on pads, their id or side, nor neighbours."""

import copy
from pathlib import Path

import pytest
import torch
from llama_gpt4_data.groups import Group, Groups
from llama_gpt4_data.reward_backbone import hub_config
from llama_gpt4_data.reward_model import HubReward, LlamaReward, apart
from torch import Tensor, nn

from llama_gpt4.hub_attention import implementation
from llama_gpt4.model import reference_decoder

from ..tiny_llama import tiny_llama

RESPONSES = [[2, 5, 9, 14, 2], [2, 7, 7, 30, 31, 32, 8, 2], [2, 11, 2]]
"""Their last token is one that pads have as well, where `pad` is `eos`."""
EOS = 2
MODELS = ("llama", "hub", "hub_documents")


def opt_reward(opt: Path, attention: str | None) -> HubReward:
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    whole = AutoModelForSequenceClassification.from_pretrained(
        opt, config=hub_config(opt), attn_implementation=attention
    ).eval()
    nn.init.normal_(whole.score.weight)
    return HubReward(whole)


@pytest.fixture(scope="module")
def hub(opt: Path) -> HubReward:
    """Over padded rows."""
    return opt_reward(opt, None)


@pytest.fixture(scope="module")
def hub_documents(opt: Path) -> HubReward:
    return opt_reward(opt, implementation(hub_config(opt)))


@pytest.fixture(scope="module")
def llama() -> LlamaReward:
    torch.manual_seed(0)
    model = LlamaReward(reference_decoder(tiny_llama()))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def alone(responses: list[list[int]]) -> Groups:
    """Of a prompt each, which is BOS."""
    return tuple(Group(1, (len(ids) - 1,)) for ids in responses)


def read(model: nn.Module, responses: list[list[int]]) -> Tensor:
    with torch.no_grad():
        tokens = torch.tensor([token for ids in responses for token in ids])
        return model(tokens, alone(responses))


@pytest.mark.parametrize("name", MODELS)
def test_neighbours_change_nothing(name: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    together = read(model, RESPONSES)
    assert together.dtype == torch.float32 and float(together.std()) > 0.1
    for order in ([2, 0, 1], [1, 2], [0], [1], [2]):
        apart = read(model, [RESPONSES[i] for i in order])
        assert float((apart - together[order]).abs().max()) < 1e-5, order


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pad_id", [0, 1, EOS, 77])
@pytest.mark.parametrize("pads", [0, 1, 9])
def test_pads_change_nothing(hub: HubReward, side: str, pad_id: int, pads: int) -> None:
    truth = read(hub, RESPONSES)
    width = max(map(len, RESPONSES)) + pads
    ids = torch.full((len(RESPONSES), width), pad_id)
    is_real = torch.zeros(len(RESPONSES), width, dtype=torch.bool)
    for row, response in enumerate(RESPONSES):
        place = slice(0, len(response)) if side == "right" else slice(width - len(response), width)
        ids[row, place] = torch.tensor(response)
        is_real[row, place] = True
    with torch.no_grad():
        error = (hub.read(ids, is_real) - truth).abs().max()
    assert float(error) < 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_the_last_token_is_the_one_that_is_read(name: str, request: pytest.FixtureRequest) -> None:
    """Another last token gives another reward, and so does any before it, which it attends to."""
    model = request.getfixturevalue(name)
    [truth] = read(model, [RESPONSES[1]]).tolist()
    for place in (1, 4, -1):
        changed = [*RESPONSES[1]]
        changed[place] += 3
        assert read(model, [changed]).tolist() != pytest.approx([truth], abs=1e-4), place


def test_without_pads_it_is_the_same_reward(hub: HubReward, hub_documents: HubReward) -> None:
    assert hub_documents.takes_documents and not hub.takes_documents
    assert float((read(hub, RESPONSES) - read(hub_documents, RESPONSES)).abs().max()) < 1e-5


def test_dropout_is_off_even_in_training(hub: HubReward) -> None:
    """OPT's config has it at 0.1, which would make a resumed run another one."""
    hub.train()
    first, second = read(hub, RESPONSES), read(hub, RESPONSES)
    hub.eval()
    assert torch.equal(first, second)


GROUPS = [
    *(Group(6, (3, 9, 5, 1, 2, 7, 4, 8, 6)[:k]) for k in range(1, 10)),
    Group(1, (1, 1, 1)),
    Group(1, (5, 3)),
    Group(40, (1, 1)),
]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "groups",
    [*((g,) for g in GROUPS), tuple(GROUPS)],
    ids=lambda groups: f"{len(groups)}-{len(groups[0].responses)}-{groups[0].prompt}",
)
def test_responses_that_share_a_prompt_are_what_they_are_apart(
    name: str, groups: Groups, request: pytest.FixtureRequest
) -> None:
    """Rewards, which are float32, to 1e-6; gradients to 1e-12."""
    model = copy.deepcopy(request.getfixturevalue(name)).double()
    torch.manual_seed(0)
    tokens = torch.randint(3, 97, (sum(group.tokens for group in groups),))
    rows = [ids.tolist() for ids in apart(tokens, groups)]
    parameters = dict(model.named_parameters())
    found = []
    for given in ((tokens, groups), (torch.tensor([t for ids in rows for t in ids]), alone(rows))):
        rewards = model(*given)
        weights = torch.linspace(-1, 2, len(rewards))
        gradients = torch.autograd.grad((rewards * weights).sum(), [*parameters.values()])
        found.append((rewards.detach(), *gradients))
    for part, one, other in zip(["rewards", *parameters], *found, strict=True):
        allowed = (1e-6 if part == "rewards" else 1e-12) * max(1.0, float(other.abs().max()))
        assert float((one - other).abs().max()) <= allowed, part
