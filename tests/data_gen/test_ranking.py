"""What is told of a step of ranking, and that its parts add up however it is divided."""

import numpy as np
import pytest
import torch
from llama_gpt4_data.ranking import accuracy, batch_loss, leads
from llama_gpt4_data.reward_batches import RewardBatch, RewardBatches
from llama_gpt4_data.reward_config import RankingLossConfig
from llama_gpt4_data.reward_data import prepare
from llama_gpt4_data.reward_examples import Compared
from llama_gpt4_data.reward_model import apart

from .reward_runs import many, reward_config, write

LOSS = RankingLossConfig(kind="mean_over_pairs", points=0.0, centring=0.0)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    folder = tmp_path_factory.mktemp("compared")
    return prepare(reward_config(folder, f"data.files=[{write(folder, many(9))}]")).train


def batches(compared: Compared, per_micro_step: int, rank: int = 0, world_size: int = 1) -> list:
    found = RewardBatches(
        compared, LOSS, prompts_per_step=9, prompts_per_micro_step=per_micro_step,
        seed=1, rank=rank, world_size=world_size,
    )  # fmt: skip
    return list(found.micro_batches(0))


def rewards(batch: RewardBatch) -> torch.Tensor:
    """The longer, the better; a dummy has one token."""
    return torch.tensor([len(ids) for ids in apart(batch.tokens, batch.groups)]).float()


def test_accuracy_is_the_share_of_pairs(compared: Compared) -> None:
    [whole] = batches(compared, 9)
    ahead = leads(rewards(whole), whole).numpy()
    assert len(ahead) == len(compared.pairs) and (ahead == 0).any()
    truth = np.mean((ahead > 0) + 0.5 * (ahead == 0))
    assert float(accuracy(rewards(whole), whole)) == pytest.approx(truth)


@pytest.mark.parametrize("per_micro_step, world_size", [(1, 1), (2, 1), (2, 2), (4, 4)])
def test_the_parts_of_a_step_add_up(
    compared: Compared, per_micro_step: int, world_size: int
) -> None:
    [whole] = batches(compared, 9)
    found = [
        (float(accuracy(r, batch)), float(batch_loss(r / 100, batch, LOSS)))
        for rank in range(world_size)
        for batch in batches(compared, per_micro_step, rank, world_size)
        for r in [rewards(batch)]
    ]
    truth = (
        float(accuracy(rewards(whole), whole)),
        float(batch_loss(rewards(whole) / 100, whole, LOSS)),
    )
    assert np.sum(found, axis=0) == pytest.approx(truth, rel=1e-6)


def test_a_batch_says_which_responses_it_holds(compared: Compared) -> None:
    seen = []
    for batch in batches(compared, 2):
        answers = [n for group in batch.groups for n in group.responses]
        parts = apart(batch.tokens, batch.groups)
        for response, part, answer in zip(batch.responses.tolist(), parts, answers, strict=True):
            i = next(i for i in range(compared.n) if response in compared.responses(i))
            k = response - compared.responses(i).start
            assert part.tolist() == compared.tokens_of(i)[k].tolist()
            assert answer == compared.answer_lengths_of(i)[k]
            seen.append(response)
    assert sorted(seen) == list(range(len(compared.scores)))
