"""A misspelt key of DeepSpeed's is one line, and the list of its keys is DeepSpeed's own."""

import json
import subprocess
import sys
from typing import Any

import pytest

from llama_gpt4.compose import compose_training
from llama_gpt4.deepspeed_keys import KEYS, require_known
from llama_gpt4.errors import InputError

# A dictionary that notes what DeepSpeed asks it for. DeepSpeed refuses those that it has removed,
# which it looks for first; `bfloat16` is its old name for `bf16`.
DERIVE = """
import json
from deepspeed.runtime import config
from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

class Noting(dict):
    asked = set()
    def get(self, key, default=None):
        self.asked.add(key)
        return super().get(key, default)
    def __getitem__(self, key):
        self.asked.add(key)
        return super().__getitem__(key)
    def __contains__(self, key):
        self.asked.add(key)
        return super().__contains__(key)
    def keys(self):
        return self
    def __copy__(self):
        return self

batch = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
config.DeepSpeedConfig(Noting(dict.fromkeys(batch, 1)))
zero = [
    field.alias or name
    for name, field in DeepSpeedZeroConfig.model_fields.items()
    if not (field.json_schema_extra or {}).get("deprecated")
]
removed = {*config._REMOVED_TOP_LEVEL_CONFIG_KEYS, "bfloat16"}
print(json.dumps({"": sorted(Noting.asked - removed), "zero_optimization": sorted(zero)}))
"""


@pytest.mark.distributed
def test_the_list_is_what_deepspeed_reads() -> None:
    done = subprocess.run([sys.executable, "-c", DERIVE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    derived = json.loads(done.stdout.splitlines()[-1])
    assert {section: sorted(names) for section, names in KEYS.items()} == derived


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"zero_optimisation": {"stage": 3}},
            "zero.deepspeed.zero_optimisation is not a key of DeepSpeed's configuration; "
            "did you mean zero.deepspeed.zero_optimization?",
        ),
        (
            {"zero_optimization": {"zero_hpz_partition": 8}},
            "did you mean zero.deepspeed.zero_optimization.zero_hpz_partition_size?",
        ),
        (
            {"round_robin_gradients": True},
            "did you mean zero.deepspeed.zero_optimization.round_robin_gradients?",
        ),
        # A second name of what we derive.
        ({"zero_optimization": {"max_live_parameters": 1}}, ".stage3_max_live_parameters?"),
    ],
)
def test_an_unknown_key_gets_the_nearest(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        require_known(settings)
    assert message in str(error.value)


def test_known_keys_pass() -> None:
    require_known({"zero_optimization": {"zero_hpz_partition_size": 8}, "comms_logger": {"x": 1}})


def test_the_command_line_is_checked() -> None:
    with pytest.raises(InputError, match=r"zero\.deepspeed\.gradient_cliping is not a key"):
        compose_training(["+zero.deepspeed.gradient_cliping=1.0"])
