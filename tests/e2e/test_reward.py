"""The default reward model learns more than length from the shipped comparisons. A long proof: half
a minute on two quiet cores."""

import json
from pathlib import Path

import pytest
from llama_gpt4_data.score import rewards

from llama_gpt4.prompt import render_prompt

from ..command import llama_gpt4

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_the_default_is_well_above_chance_and_length(tmp_path: Path) -> None:
    done = llama_gpt4(
        "reward", f"run_dir={tmp_path}/run", f"data.cache_dir={tmp_path}/cache", "tracking=none"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "run" / "reward_report.json").read_text())
    overall = found["overall"]
    assert overall["pairs"] > 500
    assert overall["accuracy"]["low"] > 0.7 > 0.65 > overall["length_only"]["high"]
    assert found["above_length_only"]["low"] > 0 and found["above_source_only"]["value"] > 0.03
    assert found["spearman"]["within_prompts"]["low"] > 0.5
    answers = ["It keeps the lid on. Steam stays inside.", "That is a stupid question."]
    better, worse = rewards(tmp_path / "run" / "model", [render_prompt("Why?", "")] * 2, answers)
    assert better > worse
