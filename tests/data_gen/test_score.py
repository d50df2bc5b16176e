"""An exported reward model gives the rewards that transformers gives, in any batch."""

import shutil
from pathlib import Path

import pytest
import torch
from llama_gpt4_data import score
from llama_gpt4_data.groups import Group
from llama_gpt4_data.hub_tokenizer import HubTokenizer
from llama_gpt4_data.reward_backbone import LABELS
from llama_gpt4_data.score import Encoded, Scorer, batches_by_length, grouped, rewards
from safetensors.torch import load_file, save_file

from llama_gpt4.errors import InputError

from ..tiny_llama import tiny_llama

PROMPTS = ["Why?"] * 3
RESPONSES = ["It is so.", "天空是蓝色的。" * 9, ""]


@pytest.fixture(scope="module")
def exported(opt: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two kinds of folders, with OPT's tokenizer in the one that has no other."""
    from transformers import AutoModelForSequenceClassification, LlamaConfig
    from transformers import LlamaForSequenceClassification as Llama

    torch.manual_seed(0)
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("opt", "llama")}
    model = AutoModelForSequenceClassification.from_pretrained(opt, num_labels=1)
    model.save_pretrained(folders["opt"])
    HubTokenizer.load(opt).save(folders["opt"], max_tokens=256)
    described = tiny_llama().to_hugging_face("float32", 1, 2, 0) | LABELS
    Llama(LlamaConfig(**described)).save_pretrained(folders["llama"])
    return folders


@pytest.mark.parametrize("kind", ["opt", "llama"])
def test_rewards_are_those_of_transformers(
    exported: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForSequenceClassification

    if kind == "llama":
        monkeypatch.setattr(score, "_tokenizer", lambda folder, is_llama: None)
    scorer = Scorer(exported[kind])
    rows = [[1, 5, 9, 14, 2], [1, 7, 7, 30, 31, 32, 8, 2], [1, 11, 2], [1, 5, 9, 4], [1, 5, 9, 2]]
    responses = [Encoded((*ids[:-2],), (*ids[-2:],)) for ids in rows[:3]]
    responses += [Encoded((1, 5, 9), (*ids[3:],)) for ids in rows[3:]]
    theirs = AutoModelForSequenceClassification.from_pretrained(exported[kind]).eval()
    with torch.no_grad():
        truth = [float(theirs(torch.tensor([ids])).logits) for ids in rows]
    assert max(truth) - min(truth) > 1e-3
    assert scorer.rewards_of_tokens(responses) == pytest.approx(truth, abs=1e-5)
    monkeypatch.setattr(score, "TOKENS_PER_BATCH", 1)
    assert scorer.rewards_of_tokens(responses) == pytest.approx(truth, abs=1e-5)


def test_texts_are_scored_in_their_order(exported: dict[str, Path]) -> None:
    found = rewards(exported["opt"], PROMPTS, RESPONSES)
    assert len(set(found)) == 3
    turned = rewards(exported["opt"], PROMPTS, RESPONSES[::-1])
    assert found == pytest.approx(turned[::-1], abs=1e-5)


def test_a_language_model_is_no_reward_model(opt: Path) -> None:
    with pytest.raises(InputError, match="is no reward model"):
        Scorer(opt)


@pytest.mark.parametrize(
    ("damage", "message"),
    [("cut", "its weights cannot be read"), ("headless", "lacks the weight s")],
)
def test_a_damaged_reward_model_makes_no_rewards_up(
    exported: dict[str, Path], tmp_path: Path, damage: str, message: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(exported["opt"], folder)
    file = folder / "model.safetensors"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-1000])
    else:
        weights = {k: v.clone() for k, v in load_file(file).items() if k != "score.weight"}
        save_file(weights, file, {"format": "pt"})
    with pytest.raises(InputError, match=message):
        Scorer(folder)


def test_batches_hold_what_fits_when_padded() -> None:
    lengths = [3, 9, 2, 4, 9, 30]
    found = batches_by_length([Encoded((1, i), (2,) * (n - 2)) for i, n in enumerate(lengths)], 18)
    assert sorted(i for batch in found for i in batch) == list(range(6))
    assert found[0] == [5], "a response that is longer has a batch of its own"
    assert all(max(lengths[i] for i in b) * len(b) <= 18 for b in found[1:])
    assert len(found) == 3


def test_responses_to_a_prompt_are_read_together() -> None:
    prompts = [(1, 5), (1, 6), (1, 5), (1, 6), (1, 5)]
    responses = [Encoded(p, (7,) * n) for p, n in zip(prompts, [1, 4, 9, 2, 3], strict=True)]
    [places] = batches_by_length(responses, 1000)
    assert places == [2, 4, 0, 1, 3]
    tokens, groups = grouped([responses[i] for i in places])
    assert groups == (Group(2, (9, 3, 1)), Group(2, (4, 2)))
    assert tokens == [1, 5, *[7] * 13, 1, 6, *[7] * 6]
    widths = [max(len(responses[i]) for i in b) for b in batches_by_length(responses, 12)]
    assert widths == [11, 5, 6]
