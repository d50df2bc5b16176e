"""A step is the same prompts and the same loss however it is divided."""

import pytest
import torch
from llama_gpt4_data.groups import Group, layout
from llama_gpt4_data.ranking import batch_loss
from llama_gpt4_data.reward_batches import RewardBatch, RewardBatches
from llama_gpt4_data.reward_config import LOSSES, RankingLossConfig
from llama_gpt4_data.reward_data import prepare
from llama_gpt4_data.reward_examples import Compared
from llama_gpt4_data.reward_model import apart

from .reward_runs import many, reward_config, write

PER_STEP = 8


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    folder = tmp_path_factory.mktemp("compared")
    return prepare(reward_config(folder, f"data.files=[{write(folder, many(21))}]")).train


def batches(
    compared: Compared,
    kind: str = "pairwise",
    *,
    per_micro_step: int = 2,
    rank: int = 0,
    world_size: int = 1,
) -> RewardBatches:
    return RewardBatches(
        compared,
        RankingLossConfig(kind=kind, points=0.3, centring=0.1),
        prompts_per_step=PER_STEP,
        prompts_per_micro_step=per_micro_step,
        seed=1,
        rank=rank,
        world_size=world_size,
    )


def step(
    compared: Compared, kind: str, number: int, micro: int, world: int
) -> tuple[float, torch.Tensor]:
    """Loss and gradient of a step over all ranks; a response's reward is the sum of its tokens'."""
    worth = torch.linspace(-1, 1, 512, dtype=torch.float64, requires_grad=True)
    loss = torch.zeros((), dtype=torch.float64)
    for rank in range(world):
        mine = batches(compared, kind, per_micro_step=micro, rank=rank, world_size=world)
        own = list(mine.micro_batches(number))
        assert len(own) == mine.micro_steps(number)
        for batch in own:
            responses = apart(batch.tokens, batch.groups)
            rewards = torch.stack([worth[ids].mean() for ids in responses])
            loss = loss + batch_loss(rewards, batch, mine._loss)
    loss.backward()
    assert worth.grad is not None
    return float(loss.detach()), worth.grad


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("number", [0, 2], ids=["full", "last_short"])
def test_loss_and_gradient_do_not_depend_on_the_split(
    compared: Compared, kind: str, number: int
) -> None:
    loss, gradient = step(compared, kind, number, PER_STEP, 1)
    for micro, world in ((1, 1), (2, 2), (3, 1), (1, 3), (4, 4)):
        other, its_gradient = step(compared, kind, number, micro, world)
        assert abs(other - loss) <= 1e-6 * loss, (micro, world)
        error = float((its_gradient - gradient).abs().max())
        assert error <= 1e-6 * float(gradient.abs().max()), (micro, world)


def test_a_prompt_keeps_its_responses_together_and_each_comes_once(compared: Compared) -> None:
    seen: list[int] = []
    for number in range(3):
        for batch in batches(compared, per_micro_step=3).micro_batches(number):
            seen += batch.comparisons
            of = [i for i in batch.comparisons for _ in compared.scores_of(i)]
            rows = [ids.tolist() for i in batch.comparisons for ids in compared.tokens_of(i)]
            assert [ids.tolist() for ids in apart(batch.tokens, batch.groups)] == rows
            assert all(of[a] == of[b] for a, b in batch.pairs.tolist())
            assert batch.prompts.tolist() == [batch.comparisons.index(i) for i in of]
    assert sorted(seen) == list(range(compared.n))


def test_a_step_is_a_pure_function_of_its_number(compared: Compared) -> None:
    used = batches(compared)
    for number in (5, 0, 4, 3):  # across epochs and back
        fresh = batches(compared)
        for mine, theirs in zip(
            used.micro_batches(number), fresh.micro_batches(number), strict=True
        ):
            assert mine.comparisons == theirs.comparisons
    first, second = (next(iter(used.micro_batches(n))).comparisons for n in (0, 3))
    assert first != second, "another epoch, another order"


def test_a_rank_without_prompts_runs_along(compared: Compared) -> None:
    last: list[RewardBatch] = list(
        batches(compared, per_micro_step=4, rank=3, world_size=4).micro_batches(2)
    )
    [empty] = last
    assert empty.groups == (Group(1, (0,)),) and len(empty.tokens) == 1
    assert len(empty.weights) == 0 and empty.comparisons == ()


def test_what_a_step_reads_is_counted(compared: Compared) -> None:
    counted = batches(compared)
    [whole] = batches(compared, per_micro_step=PER_STEP).micro_batches(1)
    assert counted.tokens(1) == len(whole.tokens)
    responses = [n for group in whole.groups for n in group.responses]
    assert counted.responses(1) == len(responses)
    assert counted.target_tokens(1) == sum(responses)


def test_attention_is_counted_as_it_is_computed(compared: Compared) -> None:
    """A document of n tokens with a prefix of p has n p + n (n + 1) / 2 pairs of query and key."""
    counted = batches(compared)
    [whole] = batches(compared, per_micro_step=PER_STEP).micro_batches(1)
    plan = layout(whole.groups)
    pairs = sum(
        n * len(prefix) + n * (n + 1) // 2
        for n, prefix in zip(plan.document_lengths, plan.prefixes, strict=True)
    )
    assert counted.squared_lengths(1) + counted.tokens(1) == 2 * pairs
