"""`llama-gpt4 plan`: what a training run will take, before any GPU is touched.

It takes the keys of `llama-gpt4 train` and the hardware under `plan.`, reads the token cache where
`llama-gpt4 prepare` has made one, and refuses what will not fit.
"""

from collections.abc import Sequence
from pathlib import Path

from llama_gpt4.architecture import LlamaConfig, from_path, from_sizes
from llama_gpt4.compose import compose
from llama_gpt4.errors import ExitCode, InputError
from llama_gpt4.help import wants_help
from llama_gpt4.hub import local_snapshot
from llama_gpt4.program import run_program, show
from llama_gpt4.schedule import plan_steps
from llama_gpt4_launch import plan_report as report
from llama_gpt4_launch.plan_advice import layouts, levers, recommended
from llama_gpt4_launch.plan_case import GIB, Case, Hardware
from llama_gpt4_launch.plan_config import PlannedConfig
from llama_gpt4_launch.plan_data import Workload, workload
from llama_gpt4_launch.plan_memory import fits, host_bytes, memory


def main(argv: Sequence[str]) -> int:
    if wants_help("plan", PlannedConfig, argv):
        return ExitCode.DONE
    return run_program("plan", lambda _: run(argv))


def run(arguments: Sequence[str]) -> None:
    """Print the plan; `InputError` where it will not fit."""
    config = compose(PlannedConfig, "plan", arguments)
    _require_copy_within_hosts(config)
    work = workload(config)
    case = Case.of(config, architecture(config, work), work, hardware(config))
    steps = plan_steps(config, work.steps)
    show(
        report.heading(config, case)
        + report.data_lines(case, steps)
        + report.curve(config, steps)
        + report.memory_lines(case)
        + report.storage_lines(case)
        + report.layout_table(case, layouts(case))
    )
    _require_room(case, config.plan.host_memory_gib)
    show(
        report.expectation(case, steps)
        + report.bottleneck(case)
        + report.recommendation(case, recommended(case), recommended(case, same_loss=False))
        + report.scaling_table(case)
        + report.NOTES
    )


def architecture(config: PlannedConfig, work: Workload) -> LlamaConfig:
    """From the folder in `model.path` where it is here, else from sizes, else from the hub."""
    path, model = config.model.path, config.model
    if path is not None:
        folder = Path(path).expanduser()
        if folder.is_dir():
            return from_path(folder, model)
        if model.n_layers is None:
            return from_path(local_snapshot(path, wanted=("config.json",)), model)
    is_trained = path is None and config.tokenizer.path is None
    vocab_size = config.tokenizer.vocab_size if is_trained else config.plan.vocab_size
    return from_sizes(model, work.vocab_size or vocab_size)


def hardware(config: PlannedConfig) -> Hardware:
    plan = config.plan
    return Hardware(
        gpu=plan.gpus[plan.gpu],
        nodes=plan.nodes,
        gpus_per_node=plan.gpus_per_node,
        network_gb_s=plan.networks[plan.network],
        assume=plan.assume,
    )


def _require_copy_within_hosts(config: PlannedConfig) -> None:
    group, gpus = config.zero.hpz_processes, config.plan.gpus_per_node
    if gpus % group:
        raise InputError(
            f"zero.hpz_processes={group} does not divide plan.gpus_per_node={gpus}: hpZ keeps its "
            f"copy within one host, so zero.hpz_processes={gpus}"
        )


def _require_room(case: Case, host_memory_gib: float | None) -> None:
    if not fits(case):
        found = levers(case)
        advice = (
            f"what fits: {'; '.join(found)}"
            if found
            else "nothing here does: choose a GPU with more memory, or a smaller model"
        )
        raise InputError(
            f"a GPU of {case.hardware.gpu.memory_gib:.1f} GiB would have to hold "
            f"{memory(case).total / GIB:.1f} GiB; {advice}"
        )
    needed = host_bytes(case) / GIB
    if host_memory_gib is not None and needed > host_memory_gib:
        raise InputError(
            f"a host of plan.host_memory_gib={host_memory_gib:g} would have to hold {needed:,.0f} "
            "GiB: offload less (zero=stage3), or spread the states over more nodes"
        )
