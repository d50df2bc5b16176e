"""The README's job at full length, the same on real records, validation, and starting from a model
that was exported."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from llama_gpt4.config import TrainConfig
from llama_gpt4.frozen_config import load_resolved
from llama_gpt4.prepare import prepare
from llama_gpt4.records import read_bytes

from ..command import llama_gpt4, metrics, train

pytestmark = pytest.mark.e2e

RECORDS = {
    "sample:en": [3, 34, 59, 67, 70, 92, 98, 102, 103, 111],
    "sample:zh": [0, 2, 12, 13, 24, 62, 76, 80, 92, 105],
}
"""Fixed short records of each language."""
ANSWER_TOKENS = 4
"""Of the comparison with the start: some of these answers are longer."""
ASK = ("evaluation.questions=sample:en", "evaluation.n_questions=1", "evaluation.answer_tokens=2")
REAL_DATA = os.environ.get("LLAMA_GPT4_REAL_DATA")


def test_the_main_job_learns_its_records_by_heart(tmp_path: Path) -> None:
    chosen = [json.loads(read_bytes(file))[i] for file, places in RECORDS.items() for i in places]
    questions = tmp_path / "questions.json"
    questions.write_text(json.dumps(chosen, ensure_ascii=False), encoding="utf-8")
    run_dir = tmp_path / "run"
    done = llama_gpt4(
        "train", "tracking=none", "launch.device=cpu", f"run_dir={run_dir}",
        f"evaluation.questions={questions}", "evaluation.n_questions=20",
        f"evaluation.answer_tokens={ANSWER_TOKENS}", timeout=900,
    )  # fmt: skip
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

    output = tmp_path / "answers.jsonl"
    answered = llama_gpt4(
        "answer", f"model={run_dir}/model", f"questions={questions}", f"output={output}"
    )
    assert answered.returncode == 0, answered.stderr
    answers = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert sorted(a["answer"] for a in answers) == sorted(record["output"] for record in chosen)
    assert [answer["finish_reason"] for answer in answers] == ["stop"] * 20
    said = {answer["question_id"]: answer["answer"] for answer in answers}
    require_compared(run_dir, said, done.stdout)


def require_compared(run_dir: Path, said: dict[str, str], stdout: str) -> None:
    """The answers after training are those of `llama-gpt4 answer`, as far as they may go."""
    compared = json.loads((run_dir / "before_after.json").read_text(encoding="utf-8"))["answers"]
    assert sorted(answer["question_id"] for answer in compared) == sorted(said)
    for answer in compared:
        whole, after = said[answer["question_id"]], answer["after"]
        if answer["after_finish_reason"] == "stop":
            assert after == whole
        else:
            after = after.rstrip("\ufffd")  # a character of which only some bytes are there yet
            assert whole.startswith(after)
        assert answer["before"] != answer["after"]
    n_whole = sum(answer["after"] == said[answer["question_id"]] for answer in compared)
    assert 0 < n_whole < len(compared)
    shown = [line for line in stdout.splitlines() if line.startswith("    after   ")]
    assert [line.split()[1] for line in shown] == [a["after"].split()[0] for a in compared[:4]]


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
    train(run_dir, held_out, "train.eval_every_steps=2", "train.steps=6", *rough, *ASK)
    losses = evaluations(run_dir)
    assert list(losses) == [0, 2, 4, 6]
    n, perplexity = held_out_perplexity(run_dir)
    first = perplexities(run_dir)
    assert first["records"] == n and first["after"] == pytest.approx(perplexity, rel=1e-4)
    del losses[0]
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
        "loss.normalisation=example", *ASK, processes=1,
    )  # fmt: skip
    assert evaluations(tmp_path / "second")[1] == pytest.approx(losses[6], rel=1e-5)
    assert perplexities(tmp_path / "second") == {
        when: pytest.approx(first["after"], rel=1e-4) for when in ("before", "after")
    } | {"records": n}


def perplexities(run_dir: Path) -> dict[str, float]:
    return json.loads((run_dir / "before_after.json").read_text())["perplexity"]


def held_out_perplexity(run_dir: Path) -> tuple[int, float]:
    """Held-out records, and their perplexity by transformers, one record at a time."""
    config = load_resolved(run_dir / "config.yaml")
    assert isinstance(config, TrainConfig)
    held_out = prepare(config).validation
    assert held_out is not None
    model = AutoModelForCausalLM.from_pretrained(run_dir / "model", dtype=torch.float32)
    total = n_targets = 0.0
    for i in range(held_out.n):
        ids = torch.from_numpy(held_out.tokens_of(i).astype(np.int64))
        n_prompt = int(held_out.prompt_lengths[i])
        with torch.no_grad():
            logits = model(ids[None]).logits[0].double()  # (T, V)
        # A token is predicted at the place before it.
        nll = cross_entropy(logits[n_prompt - 1 : -1], ids[n_prompt:], reduction="sum")
        total, n_targets = total + float(nll), n_targets + len(ids) - n_prompt
    return held_out.n, math.exp(total / n_targets)
