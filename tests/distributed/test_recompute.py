"""Every recompute policy and operator set under ZeRO-3 on two ranks, one of them without a target:
the same gradients, and what each policy costs in products and gathers."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llama_gpt4.recompute import LAYER_RUNNERS

pytestmark = pytest.mark.distributed

HERE = Path(__file__).parent
FACTS = {"curve", "products", "head_gathers", "layer_gathers"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("recompute")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "TRITON_INTERPRET": "1",
    }
    worker = str(HERE / "recompute_worker.py")
    subprocess.run(
        [sys.executable, *launcher, worker, str(out)], check=True, env=environment, timeout=400
    )
    return {path.stem: dict(np.load(path)) for path in out.glob("*.npz")}


@pytest.mark.parametrize("policy", list(LAYER_RUNNERS)[1:])
def test_gradients_are_the_same_bit_for_bit(results: dict[str, Any], policy: str) -> None:
    kept, again = results["reference-none"], results[f"reference-{policy}"]
    assert kept.keys() == again.keys()
    for name in kept.keys() - FACTS | {"curve"}:
        assert np.array_equal(kept[name], again[name]), name


def test_fused_operators_train_as_the_reference_does(results: dict[str, Any]) -> None:
    reference, fused = results["reference-none"], results["fused-none"]
    assert np.abs(fused["curve"] - reference["curve"]).max() < 1e-5  # three updates by its AdamW
    for name in reference.keys() - FACTS:
        error = np.abs(fused[name] - reference[name]).max()
        assert error <= 1e-5 * np.abs(reference[name]).max(), name
    for name in reference.keys() - FACTS | {"curve"}:
        assert np.array_equal(fused[name], results["fused-lean"][name]), name


def test_products_computed_again(results: dict[str, Any]) -> None:
    """Of the 7 products of a layer; the model has 2 layers. DeepSpeed's own linear would undo the
    early stop."""
    none = results["reference-none"]["products"]
    again = {p: (results[f"reference-{p}"]["products"] - none) / 2 for p in LAYER_RUNNERS}
    assert again == {"none": 0, "lean": 0, "attention": 5, "full": 6}


def test_weights_fetched_in_a_micro_step(results: dict[str, Any]) -> None:
    """The head's once, since its gradients are made in the forward pass; a layer's twice, and not
    more often for what `lean` computes again."""
    for policy in LAYER_RUNNERS:
        found = results[f"reference-{policy}"]
        assert found["head_gathers"] == 1, policy
    assert results["reference-none"]["layer_gathers"] == 2
    assert results["reference-lean"]["layer_gathers"] == 2


def test_state_takes_sixteen_bytes_a_parameter(results: dict[str, Any]) -> None:
    """bf16 weight 2 and gradient 2, fp32 master weight and two moments 12; little for buffers."""
    assert 16 <= results["state"]["bytes_per_parameter"] < 17.5
