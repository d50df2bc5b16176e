"""Bad input is answered by one line that says what is wrong and what to do, by exit code 2, and by
nothing half-written: no run directory in which nothing ran, no unfinished cache."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from llama_gpt4_launch import cli

from ..command import FAST, llama_gpt4, metrics, train

pytestmark = pytest.mark.e2e

RECORD = {"instruction": "Say yes.", "input": "", "output": "yes"}


@pytest.fixture
def refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Starts a training in a new run directory and gives the line that refuses it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def start(*overrides: str) -> str:
        cache = tmp_path / "cache"
        run_dir = tmp_path / "runs" / "run"
        begin = [*FAST, f"data.cache_dir={cache}", f"run_dir={run_dir}"]
        with pytest.raises(SystemExit) as end:
            raise SystemExit(cli.main(["train", *begin, *overrides]))
        assert end.value.code == 2
        out, err = capfd.readouterr()
        [line] = [line for line in (out + err).splitlines() if line.startswith("llama-gpt4 ")]
        assert line.startswith("llama-gpt4 train: "), "the verb that was typed"
        assert "Traceback" not in out + err
        assert not run_dir.exists()
        left = [p.name for p in tmp_path.rglob("*") if p.suffix in (".tmp", ".partial")]
        assert not left
        return line

    return start


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model in Hugging Face format with a tokenizer of 1,024 pieces."""
    run_dir = tmp_path_factory.mktemp("model") / "run"
    train(run_dir, "train.steps=1", processes=1)
    return run_dir / "model"


@pytest.mark.parametrize(
    "content, words",
    [
        (None, ["records.json does not exist"]),
        ('[{"instruction": "a", ', ["records.json is not JSON", "line 1"]),
        (
            json.dumps([RECORD, {"instruction": "Say no.", "input": ""}]),
            ["records.json record 1", "no key `output`"],
        ),
        ("", ["records.json", "no record"]),
        ("[]", ["records.json", "no record"]),
        (json.dumps([{**RECORD, "output": ["yes"]}]), ["record 0", "`output` is a JSON array"]),
        (
            json.dumps([{**RECORD, "output": f"yes {n} " * 200} for n in range(30)]),
            ["all 30 examples", "data.row_tokens=256", "raise it to"],
        ),
    ],
    ids=["missing", "no-json", "no-output", "empty", "no-records", "no-text", "too-long"],
)
def test_records(refused: Any, tmp_path: Path, content: str | None, words: list[str]) -> None:
    file = tmp_path / "records.json"
    if content is not None:
        file.write_text(content)
    line = refused(f"data.files=[{file}]")
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    "override, words",
    [
        ("optim.lrr=1", ["optim.lrr is not a key", "did you mean optim.lr?"]),
        ("train.steps=many", ["train.steps", "'many'"]),
        ("batch.tokens_per_step=1000", ["data.row_tokens=256", "768 or 1024 would do"]),
        ("batch.rows_per_micro_step=0", ["batch.rows_per_micro_step=0 must be positive"]),
        ("launch.device=cuda", ["launch.device=cuda", "no GPUs", "launch.device=cpu"]),
        ("tokenizer.path=/nowhere", ["tokenizer.path=/nowhere does not exist"]),
        (
            "+zero.deepspeed.zero_optimisation.stage=2",
            ["zero.deepspeed.zero_optimisation is not a key", "zero_optimization?"],
        ),
        ("evaluation.questions=/no.json", ["evaluation.questions=/no.json does not exist"]),
        ("tokenizer.vocab_size=100", ["tokenizer.vocab_size=100 is too small"]),
    ],
)
def test_keys(refused: Any, override: str, words: list[str]) -> None:
    line = refused(override)
    assert all(word in line for word in words), line


def from_model(folder: Path) -> list[str]:
    sizes = [f"model.{key}=null" for key in ("n_layers", "hidden_size", "feed_forward_size")]
    return ["model=from_path", f"model.path={folder}", *sizes, "launch.processes=1"]


def test_a_recipe_for_gpus_says_what_is_missing_first(refused: Any, model: Path) -> None:
    recipe = [*from_model(model), "experiment=alpaca_7b"]
    rest = ["batch.tokens_per_step=null", "data.row_tokens=512"]
    line = refused(*recipe, *rest, "launch.device=cuda")
    assert "launch.device=cuda" in line and "no GPUs" in line
    line = refused(*recipe, *rest)
    assert "alpaca_gpt4_data.json does not exist" in line


def test_a_tokenizer_larger_than_the_model(refused: Any, model: Path, tmp_path: Path) -> None:
    larger = tmp_path / "larger"
    done = llama_gpt4("prepare", *FAST, "tokenizer.vocab_size=1500", f"data.cache_dir={larger}")
    assert done.returncode == 0, done.stderr
    [tokenizer] = larger.glob("*/tokenizer")
    line = refused(*from_model(model), f"tokenizer.path={tokenizer}")
    assert "the tokenizer has 1500 pieces" in line and "1024 rows of embeddings" in line


def test_a_truncated_checkpoint(refused: Any, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(model, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    line = refused(*from_model(folder))
    assert "cut/model.safetensors is cut short" in line


def test_a_checkpoint_of_other_shapes(refused: Any, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(model, folder)
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**described, "intermediate_size": 96}))
    line = refused(*from_model(folder))
    assert "has the shape (64, 32), the configuration says (96, 32)" in line


@pytest.mark.parametrize("place", ["file", "proc"])
def test_a_run_directory_that_cannot_be_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / "file").write_text("")
    run_dir = tmp_path / "file" / "run" if place == "file" else Path("/proc/llama-gpt4")
    assert cli.main(["train", *FAST, f"run_dir={run_dir}"]) == 2
    [line] = capfd.readouterr().err.splitlines()
    assert f"run_dir={run_dir} cannot be written" in line


def test_a_loss_that_is_not_finite_stops_before_the_update(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    done = llama_gpt4(
        "train",
        *FAST,
        f"run_dir={run_dir}",
        "train.steps=6",
        "train.save_every_steps=1",
        "optim.lr=1e30",
        "schedule.warmup_frac=0",
        "launch.processes=2",
    )
    assert done.returncode == 2, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("llama-gpt4 ")]
    steps = [entry["step"] for entry in metrics(run_dir)]
    failed = len(steps) + 1
    assert steps == list(range(1, failed)) and failed in (2, 3)
    assert f"the loss of step {failed} on rank " in line
    assert "is not finite" in line and "sample:" in line and "lower optim.lr" in line
    assert json.loads((run_dir / "exit.json").read_text())["code"] == 2
    saved = [path.name for path in (run_dir / "checkpoints").iterdir()]
    assert saved == [f"step-{failed - 1}"]
    assert not (run_dir / "model").exists()
