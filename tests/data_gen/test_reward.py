"""What one micro-batch adds to the loss, and what the command line refuses; whole runs: e2e and
tests/distributed/test_reward.py."""

from pathlib import Path

import pytest
import torch
from llama_gpt4_data import reward
from llama_gpt4_data.ranking import batch_loss
from llama_gpt4_data.reward_batches import RewardBatches
from llama_gpt4_data.reward_config import RankingLossConfig
from llama_gpt4_data.reward_data import prepare

from .reward_runs import SMALL, many, reward_config, write


def test_centring_is_added_with_its_weight(tmp_path: Path) -> None:
    compared = prepare(reward_config(tmp_path, f"data.files=[{write(tmp_path, many(6))}]")).train
    plain, centred = (
        RankingLossConfig(kind="pairwise", points=0.0, centring=weight) for weight in (0.0, 0.5)
    )
    [batch] = RewardBatches(
        compared,
        plain,
        prompts_per_step=6,
        prompts_per_micro_step=6,
        seed=0,
        rank=0,
        world_size=1,
    ).micro_batches(0)
    rewards = torch.full((len(batch.responses),), 3.0)
    assert float(batch_loss(rewards, batch, plain)) == pytest.approx(torch.log(torch.tensor(2.0)))
    added = batch_loss(rewards, batch, centred) - batch_loss(rewards, batch, plain)
    assert float(added) == pytest.approx(0.5 * 9)


@pytest.mark.parametrize(
    "override, words",
    [
        ("loss.kind=pairwize", "loss.kind=pairwize is not one of pairwise, mean_over_pairs"),
        ("batch.tokens_per_step=9", "batch.tokens_per_step is not a key of this program"),
        ("train.dry=true", "train.dry is for `llama-gpt4 train`"),
        ("data.files=[nowhere.json]", "nowhere.json does not exist"),
        ("data.files=[sample:cmp]", "there are sample:en, sample:zh, sample:comparisons_en"),
        ("program=train", "program=train is not one of reward"),
        ("batch.prompts_per_micro_step=0", "batch.prompts_per_micro_step=0 must be positive"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, words: str
) -> None:
    run_dir = tmp_path / "run"
    line = [*SMALL, f"run_dir={run_dir}", f"data.cache_dir={tmp_path}/cache", override]
    assert reward.main(line) == 2
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("llama-gpt4 reward: ") and words in said
    assert not run_dir.exists()
