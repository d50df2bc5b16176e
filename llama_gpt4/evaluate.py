"""`llama-gpt4 evaluate metric=<name>`: a table from metric to the module that measures it, which is
imported when asked for. They are named and not imported, since some lie in rooms above this one."""

import importlib
import sys
from collections.abc import Sequence

from llama_gpt4.program import show

METRICS: dict[str, tuple[str, str]] = {
    "reward": (
        "llama_gpt4_data.reward_evaluation",
        "what a reward model has learnt: accuracy, calibration, RewardBench",
    ),
    "rouge": ("llama_gpt4.evaluation.rouge", "overlap with references, by their length"),
    "texts": ("llama_gpt4.evaluation.texts", "verbs and nouns, lengths and numbers of data sets"),
    "scores": ("llama_gpt4_data.scores", "scores that a judge gave, by source of the answers"),
    "judge": ("llama_gpt4_data.judge", "have a judge compare answers in pairs, in both orders"),
    "lm_eval": ("llama_gpt4.evaluation.harness", "tasks of EleutherAI's lm-evaluation-harness"),
    "human": ("llama_gpt4.evaluation.human", "blind votes of people on pairs of answers"),
}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    named = [word.removeprefix("metric=") for word in arguments if word.startswith("metric=")]
    if not named:
        show(_help())
        return 0 if {"-h", "--help"} & {*arguments} else 2
    metric = named[-1]
    if metric not in METRICS:
        known = ", ".join(METRICS)
        print(
            f"llama-gpt4 evaluate: metric={metric} is not one of {known}",
            file=sys.stderr,
        )
        return 2
    rest = [word for word in arguments if not word.startswith("metric=")]
    return importlib.import_module(METRICS[metric][0]).main(rest)


def _help() -> str:
    metrics = "\n".join(f"  metric={name:<10}{what}" for name, (_, what) in METRICS.items())
    return (
        "usage: llama-gpt4 evaluate metric=<name> [key=value …]\n\n"
        f"{metrics}\n\n"
        "With `--help` behind it, a metric lists its keys; `--cfg` prints what they come to.\n"
    )
