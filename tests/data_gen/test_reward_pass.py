"""The pass over all answers: what it scores, keeps, and finds again."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from llama_gpt4_data import reward_pass
from llama_gpt4_data.reward_pass import RewardJournal, Scored, devices_of, rewards_of
from llama_gpt4_data.score import Scorer

from llama_gpt4.errors import InputError

from .ranking import write_reward_model

TEXTS = ["It is so.", "天空是蓝色的。" * 9, "", "It is so.", "No idea, and so on and so on."]
ANSWERS = [Scored(f"answer {i}", "Why?", text) for i, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def model(opt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reward_model(opt, tmp_path_factory.mktemp("reward"))


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches and more."""
    monkeypatch.setattr(reward_pass, "TOKENS_PER_BATCH", 40)


def score(model: Path, journal: Path, answers: list[Scored] = ANSWERS) -> list[float]:
    return rewards_of(answers, model, RewardJournal(journal), ["cpu"])


def test_rewards_are_the_scorers_in_the_order_given(model: Path, tmp_path: Path) -> None:
    found = score(model, tmp_path / "journal.jsonl")
    assert found == pytest.approx(Scorer(model).rewards(["Why?"] * 5, TEXTS), abs=1e-5)
    assert len(set(found)) == 4 and found[0] == found[3]
    assert len((tmp_path / "journal.jsonl").read_text().splitlines()) == 4, "the same text once"


def test_what_is_known_is_not_scored_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "journal.jsonl"
    found = score(model, journal)
    kept = journal.read_bytes()
    with monkeypatch.context() as nobody_loads:
        nobody_loads.delattr(reward_pass, "Scorer")
        assert score(model, journal) == found
    assert journal.read_bytes() == kept


def test_a_journal_cut_anywhere_gives_the_same(model: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    found = score(model, journal)
    whole = journal.read_bytes()
    for end in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        journal.write_bytes(whole[:end])
        assert score(model, journal) == found
        assert {*journal.read_bytes().splitlines()} == {*whole.splitlines()}


def test_another_model_scores_anew(model: Path, opt: Path, tmp_path: Path) -> None:
    journal, copy = tmp_path / "journal.jsonl", tmp_path / "copy"
    found = score(model, journal)
    shutil.copytree(model, copy)
    n_lines = len(journal.read_bytes().splitlines())
    assert score(copy, journal) == found, "the model counts, not its place"
    assert len(journal.read_bytes().splitlines()) == n_lines
    other = write_reward_model(opt, tmp_path / "other", seed=1)
    assert score(other, journal) != pytest.approx(found, abs=1e-3)
    assert score(model, journal) == found


@pytest.mark.parametrize(
    "text", ["diary\n", "[1]\n", '{"key": "a"}\n', '{"key": "a", "reward": "b"}\n']
)
def test_a_journal_of_somebody_else_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(json.dumps({"key": "k", "reward": 1.0}) + "\n" + text)
    with pytest.raises(
        InputError, match=r"journal.jsonl line 2 is no reward that this program kep"
    ):
        RewardJournal(path)


def test_an_answer_that_the_model_cannot_read_is_named(model: Path, tmp_path: Path) -> None:
    long = [*ANSWERS, Scored("a.jsonl: question 7, sample 3", "Why?", "word " * 300)]
    with pytest.raises(InputError, match=r"^a.jsonl: question 7, sample 3 has \d+ tokens with its "
                       r"question, and .* reads 256: leave it out"):  # fmt: skip
        score(model, tmp_path / "journal.jsonl", long)
    assert not (tmp_path / "journal.jsonl").exists()


def test_a_model_of_no_numbers_is_refused(model: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    weights = load_file(broken / "model.safetensors")
    weights["score.weight"] = torch.full_like(weights["score.weight"], torch.nan)
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"broken gives answer \d the reward nan: its weights are"):
        score(broken, tmp_path / "journal.jsonl")
    assert not (tmp_path / "journal.jsonl").exists()


def test_processes_compute_where_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert devices_of("auto", None) == devices_of("cpu", 1) == ["cpu"]
    assert devices_of("auto", 3) == ["cpu"] * 3
    with pytest.raises(InputError, match="device=cuda: PyTorch sees no CUDA device here"):
        devices_of("cuda", None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices_of("auto", None) == ["cuda:0", "cuda:1"]
    assert devices_of("cuda", 1) == ["cuda:0"] and devices_of("cpu", None) == ["cpu"]
    with pytest.raises(InputError, match="processes=3 are more than the 2 GPUs here"):
        devices_of("auto", 3)
