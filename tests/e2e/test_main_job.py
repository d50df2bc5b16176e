"""The README's job at full length, the same on real records, validation, and starting from a model
that was exported."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from llama_gpt4.records import read_bytes

from ..command import llama_gpt4, metrics, train

pytestmark = pytest.mark.e2e

RECORDS = {
    "sample:en": [3, 34, 59, 67, 70, 92, 98, 102, 103, 111],
    "sample:zh": [0, 2, 12, 13, 24, 62, 76, 80, 92, 105],
}
"""Fixed short records of each language."""
REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")


def test_the_main_job_learns_its_records_by_heart(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    done = llama_gpt4(
        "train", "tracking=none", "launch.device=cpu", f"run_dir={run_dir}", timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-2:] == [
        f"run directory {run_dir}",
        f"model {run_dir / 'model'}",
    ]
    lines = metrics(run_dir)
    n_steps = lines[-1]["step"]
    assert f"{n_steps}/{n_steps}" in done.stderr and n_steps == len(lines)
    first, last = lines[0]["loss"], lines[-1]["loss"]
    assert f"loss {first:.4f} at the start, {last:.4f} at the end" in done.stdout
    assert last < 0.1 < 6 < first

    chosen = [json.loads(read_bytes(file))[i] for file, places in RECORDS.items() for i in places]
    questions = tmp_path / "questions.json"
    questions.write_text(json.dumps(chosen, ensure_ascii=False), encoding="utf-8")
    output = tmp_path / "answers.jsonl"
    answered = llama_gpt4(
        "answer", f"model={run_dir}/model", f"questions={questions}", f"output={output}"
    )
    assert answered.returncode == 0, answered.stderr
    answers = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert sorted(a["answer"] for a in answers) == sorted(record["output"] for record in chosen)
    assert [answer["finish_reason"] for answer in answers] == ["stop"] * 20


@pytest.mark.skipif(not REAL_DATA, reason="LLAMA_GPT4_REAL_DATA names no folder of real records")
def test_real_records(tmp_path: Path) -> None:
    files = ",".join(f"{REAL_DATA}/alpaca_gpt4_{language}.json" for language in ("en", "zh"))
    done = llama_gpt4(
        "train",
        "tracking=none",
        "launch.device=cpu",
        f"data.files=[{files}]",
        f"data.cache_dir={tmp_path}/cache",
        f"run_dir={tmp_path}/run",
        "train.steps=24",
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    losses = [line["loss"] for line in metrics(tmp_path / "run")]
    assert len(losses) == 24
    assert sum(losses[-4:]) < 0.9 * sum(losses[:4])
    assert "dropped for their length" in done.stdout
    assert "would hold 99 % of the examples" in done.stdout


def evaluations(run_dir: Path) -> dict[int, float]:
    lines: list[dict[str, Any]] = [
        json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()
    ]
    return {line["step"]: line["eval_loss"] for line in lines if "eval_loss" in line}


def test_the_best_checkpoint_stays_and_its_model_starts_another_run(tmp_path: Path) -> None:
    run_dir, held_out = tmp_path / "run", "data.validation.share=0.1"
    # A rate at which the last step is not the best one.
    rough = ["optim.lr=3", "schedule.kind=constant", "schedule.warmup_frac=0"]
    train(run_dir, held_out, "train.eval_every_steps=2", "train.steps=6", *rough)
    losses = evaluations(run_dir)
    assert list(losses) == [2, 4, 6]
    best = min(losses, key=losses.__getitem__)
    assert best < 6
    assert {path.name for path in (run_dir / "checkpoints").iterdir()} == {f"step-{best}", "step-6"}
    manifest = json.loads((run_dir / "checkpoints" / "step-6" / "manifest.json").read_text())
    assert manifest["state"]["best_step"] == best
    assert manifest["state"]["best_eval_loss"] == losses[best]

    sizes = [f"model.{key}=null" for key in ("n_layers", "hidden_size", "feed_forward_size")]
    begin = ["model=from_path", f"model.path={run_dir}/model", *sizes, held_out]
    train(
        tmp_path / "second", *begin, "train.eval_every_steps=1", "train.steps=1", "optim.lr=1e-12",
        processes=1,
    )  # fmt: skip
    assert evaluations(tmp_path / "second")[1] == pytest.approx(losses[6], rel=1e-5)
