"""How often rewards agree with the judge, by sources, beside a rule that sees only length."""

import json
from pathlib import Path

import numpy as np
import pytest
from llama_gpt4_data.reward_data import prepare
from llama_gpt4_data.reward_examples import Compared
from llama_gpt4_data.reward_report import agreements, longer_wins, store, table

from .reward_runs import reward_config, write


@pytest.fixture
def compared(tmp_path: Path) -> Compared:
    def answers(*given: tuple[str, str, float]) -> list[dict[str, object]]:
        return [{"response": r, "source": s, "score": n} for r, s, n in given]

    long, short = "a long answer, much longer", "short"
    records = [
        {"user_input": "One?", "responses_and_scores": answers((long, "b", 9), (short, "a", 4))},
        {"user_input": "Two?", "responses_and_scores": answers((short, "a", 9), (long, "b", 4))},
        {"user_input": "Three?", "responses_and_scores": answers(
            (long, "a", 9), (short, "b", 6), (short + "!", "b", 3))},
    ]  # fmt: skip
    return prepare(reward_config(tmp_path, f"data.files=[{write(tmp_path, records)}]")).train


REWARDS = [np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([3.0, 1.0, 1.0])]


def test_agreement_is_by_pairs_of_sources_whichever_won(compared: Compared) -> None:
    rows = {row.sources: row for row in agreements(compared, REWARDS, longer_is_better=True)}
    assert list(rows) == ["all", "a / b", "b / b"]
    assert (rows["all"].pairs, rows["a / b"].pairs, rows["b / b"].pairs) == (5, 4, 1)
    assert rows["a / b"].accuracy == 3 / 4
    assert rows["b / b"].accuracy == 1 / 2, "two equal rewards tell nothing apart"
    assert rows["a / b"].length_only == 3 / 4 and rows["b / b"].length_only == 0


def test_length_is_read_the_way_that_training_data_favour(compared: Compared) -> None:
    assert longer_wins(compared) == 3 / 5
    turned = agreements(compared, REWARDS, longer_is_better=False)
    assert turned[0].length_only == pytest.approx(2 / 5)


def test_the_table_and_its_file_say_the_same(compared: Compared, tmp_path: Path) -> None:
    rows = agreements(compared, REWARDS, longer_is_better=True)
    store(tmp_path / "agreement.json", rows, compared.n)
    kept = json.loads((tmp_path / "agreement.json").read_text())
    assert kept["prompts"] == 3 and kept["agreement"][0]["accuracy"] == rows[0].accuracy
    shown = table(rows).splitlines()
    assert shown[0].split() == ["sources", "pairs", "accuracy", "length", "only"]
    assert shown[1].split() == ["all", "5", f"{rows[0].accuracy:.3f}", "0.600"]
