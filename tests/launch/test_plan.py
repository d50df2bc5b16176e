"""`llama-gpt4 plan` as a program: what it prints, what it refuses, and without torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from llama_gpt4_launch.plan import main

from llama_gpt4.architecture import from_sizes
from llama_gpt4.compose import compose_training
from llama_gpt4.prepare import prepare

PAPER = ("experiment=alpaca_7b", "plan.examples=52002")


def test_a_plan_says_what_a_run_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PAPER, "plan.gpu=h200", "plan.nodes=2", "plan.gpus_per_node=8"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "alpaca_7b: 6,738,415,616 parameters, bfloat16, recompute lean\n2 x 8 h200" in out
    for part in (
        "1,218 steps of a schedule of 1,218, warm-up 37",
        "learning rate (cosine)",
        "activations             22.75  8,192 tokens, lean",
        "host memory of a node: 70 GiB, of which 4.7 GiB a process",
        "> zero=stage3",
        "A step is bound by communication",
        "Recommended: zero=stage2",
        " 1,024  8,192 ",
        "Everything else is an estimate",
    ):
        assert part in out, part


def test_what_will_not_fit_is_refused_with_what_would(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PAPER, "plan.gpu=h100", "plan.gpus_per_node=1"]) == 2
    out, err = capsys.readouterr()
    [line] = err.splitlines()
    assert line.startswith("llama-gpt4 plan: a GPU of 79.6 GiB would have to hold 1")
    assert "what fits: zero=offload (" in line
    assert "DOES NOT FIT" in out and "scaling" not in out


def test_nothing_to_be_done_is_said_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PAPER, "plan.assume.context_gib=150"]) == 2
    assert "choose a GPU with more memory" in capsys.readouterr().err


def test_a_host_that_is_too_small_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    keys = [*PAPER, "zero=offload"]
    assert main([*keys, "plan.host_memory_gib=1024"]) == 0
    assert main([*keys, "plan.host_memory_gib=128"]) == 2
    assert "a host of plan.host_memory_gib=128 would have to hold 245" in capsys.readouterr().err


@pytest.mark.parametrize("gpus", [6, 4])
def test_a_second_copy_across_hosts_is_refused(
    gpus: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """On four hosts of four GPUs eight processes are whole groups, but not of one host."""
    assert main([*PAPER, "zero=hpz", "plan.nodes=4", f"plan.gpus_per_node={gpus}"]) == 2
    message = f"zero.hpz_processes=8 does not divide plan.gpus_per_node={gpus}"
    assert message in capsys.readouterr().err


def test_a_models_own_sizes_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    described = from_sizes(compose_training([]).model, 5000).to_hugging_face("float32", 1, 2, 0)
    (tmp_path / "config.json").write_text(json.dumps(described))
    keys = ["model=from_path", f"model.path={tmp_path}", "plan.examples=100"]
    assert main(keys) == 0
    assert "2,083,968 parameters" in capsys.readouterr().out


def test_prepared_data_are_planned_without_torch(tmp_path: Path) -> None:
    keys = [f"data.cache_dir={tmp_path}"]
    prepare(compose_training(keys))
    code = (
        "import sys; from llama_gpt4_launch.cli import main; code = main(sys.argv[1:]); "
        "heavy = {'torch', 'transformers', 'deepspeed', 'wandb'} & set(sys.modules); "
        "sys.exit(f'imports {heavy}' if heavy else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "plan", *keys], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "data: counted in the prepared data\n  230 examples, 13,430 tokens, 1,687" in done.stdout
    assert "340 steps of a schedule of 340, warm-up 11" in done.stdout


def test_help_tells_the_plans_own_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "plan.gpu: str\n    One of `plan.gpus`." in out
    assert "plan.assume.compute_frac: float\n    Share of the GPU's peak" in out
    assert "optim.lr: float\n    Peak learning rate." in out
