"""The hardware that a plan is made for, and every key of it read by some code."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from llama_gpt4_launch.plan_config import AssumptionConfig, Gpu, PlanConfig, PlannedConfig

from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError
from llama_gpt4.metrics import PEAK_BF16_FLOPS

LAUNCH = Path(__file__).parents[2] / "launch" / "llama_gpt4_launch"


def planned(*overrides: str) -> PlannedConfig:
    return compose(PlannedConfig, "plan", overrides)


def test_it_is_a_training_with_hardware_beside_it() -> None:
    config = planned("experiment=alpaca_7b", "plan.nodes=4", "plan.gpu=h100", "optim.lr=1e-5")
    assert (config.name, config.optim.lr) == ("alpaca_7b", 1e-5)
    assert (config.plan.nodes, config.plan.gpus[config.plan.gpu].bfloat16_tflops) == (4, 989)


def test_an_own_gpu_and_network_can_be_described() -> None:
    mine = "{memory_gib: 96, bfloat16_tflops: 148, float32_tflops: 44, memory_gb_s: 4000, "
    mine += "link_gb_s: 450, host_gb_s: 50}"
    config = planned(
        f"+plan.gpus.mine={mine}", "plan.gpu=mine", "+plan.networks.slow=1", "plan.network=slow"
    )
    assert config.plan.gpus["mine"].memory_gib == 96
    assert config.plan.networks["slow"] == 1


@pytest.mark.parametrize(
    "override, message",
    [
        ("plan.gpu=h300", r"plan\.gpu=h300 is not one of a100_40gb, .*\+plan\.gpus\.<name>"),
        ("plan.network=string", r"plan\.network=string is not one of 8x400g, "),
        ("plan.nodes=0", r"plan\.nodes=0 must be positive"),
        ("plan.gpus_per_node=-1", r"plan\.gpus_per_node=-1 must be positive"),
        ("plan.examples=0", r"plan\.examples=0 must be positive"),
        ("plan.assume.compute_frac=1.5", r"plan\.assume\.compute_frac=1\.5 is not within"),
        ("plan.assume.bandwidth_frac=0", r"plan\.assume\.bandwidth_frac=0"),
        ("plan.assume.context_gib=-1", r"plan\.assume\.context_gib=-1"),
        ("plan.gpsu=h100", r"plan\.gpsu is not a key of this program; did you mean plan\.gpus?"),
    ],
)
def test_a_wrong_value_names_its_key(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        planned(override)


@pytest.mark.parametrize("schema", [PlanConfig, AssumptionConfig, Gpu])
def test_every_key_is_read(schema: type) -> None:
    code = "\n".join(
        path.read_text() for path in LAUNCH.glob("plan*.py") if path.name != "plan_config.py"
    )
    for field in fields(schema):
        assert re.search(rf"\.{field.name}\b", code), f"nothing reads {field.name}"


def test_peaks_are_those_by_which_runs_measure_their_mfu() -> None:
    gpus = planned().plan.gpus
    for name, key in {"H100": "h100", "H200": "h200", "A100": "a100_80gb"}.items():
        assert gpus[key].bfloat16_tflops * 1e12 == PEAK_BF16_FLOPS[name]
