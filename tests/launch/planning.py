"""A planned case without data, for the tests of its parts."""

from llama_gpt4_launch import plan
from llama_gpt4_launch.plan_case import Case
from llama_gpt4_launch.plan_config import PlannedConfig
from llama_gpt4_launch.plan_data import workload

from llama_gpt4.compose import compose

EXAMPLES = "plan.examples=52002"


def case_of(*overrides: str) -> Case:
    config = compose(PlannedConfig, "plan", [EXAMPLES, *overrides])
    work = workload(config)
    return Case.of(config, plan.architecture(config, work), work, plan.hardware(config))
