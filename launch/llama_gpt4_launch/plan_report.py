"""A plan in words, tables and a curve."""

from collections.abc import Sequence

from llama_gpt4.schedule import Plan, learning_rate
from llama_gpt4_launch.plan_advice import Layout, fastest, is_same_zero
from llama_gpt4_launch.plan_case import GIB, Case
from llama_gpt4_launch.plan_config import PlannedConfig
from llama_gpt4_launch.plan_memory import (
    CHECKPOINT_BYTES,
    disk_bytes,
    fits,
    host_bytes,
    largest_rows,
    memory,
    state_bytes,
    writing_processes,
)
from llama_gpt4_launch.plan_time import Times, mfu, step_tokens, times, tokens_per_second

CURVE_COLUMNS, CURVE_LINES = 72, 8
SCALE = tuple(2**k for k in range(11))
"""Nodes of the scaling table: 1 to 1,024."""
WELL_USED = 0.8
"""Nodes that bring less than this share of their number are too many for the batch."""
NOTES = """\
Weights, gradients, master weights and moments are exact. Everything else is an estimate:
  memory    activations by model.recompute (recompute.py), whole rows of every micro-batch; ZeRO-3's
            live parameters at their limit; fragmentation and context as plan.assume says
  compute   6 FLOPs a weight and token, and attention, at plan.assume.compute_frac of the peak
  network   bytes (W - 1) / W / bandwidth and NCCL's latencies; overlapped with compute by ZeRO-2/3
  not in    waiting for the rank with the longest rows, evaluation, saves, start, export, and the
            time to launch kernels, which bounds tiny models
The formulas are in `llama_gpt4_launch/plan_memory.py` and `plan_time.py`. No GPU run has been
compared with them yet.
"""


def heading(config: PlannedConfig, case: Case) -> str:
    plan = config.plan
    network = f", {plan.network} between them" if plan.nodes > 1 else ""
    return (
        f"{config.name}: {sum(case.numels):,} parameters, {config.precision.dtype}, "
        f"recompute {config.model.recompute}\n"
        f"{plan.nodes} x {plan.gpus_per_node} {plan.gpu}{network}\n"
    )


def data_lines(case: Case, plan: Plan) -> str:
    """What is trained on, in how many steps, and the learning rate as drawn."""
    work, config = case.workload, case.config
    kind = "packed rows" if config.data.batching == "pack" else "examples"
    idle = f"; {case.idle_gpus} of {case.hardware.world_size} GPUs have none"
    return (
        f"\ndata: {work.source}\n"
        f"  {work.examples:,} examples, {work.tokens:,} tokens, {work.target_tokens:,} learned; "
        f"{work.steps:,} steps an epoch\n"
        f"  a step: {config.rows_per_step} {kind}, about {step_tokens(case):,.0f} tokens, in "
        f"{_count(case.micro_steps, 'micro-step')} of "
        f"{_count(config.batch.rows_per_micro_step, 'row')} a GPU"
        f"{idle if case.idle_gpus else ''}\n"
        f"  {plan.stop_step:,} steps of a schedule of {plan.total_steps:,}, warm-up "
        f"{plan.warmup_steps}\n"
    )


def curve(config: PlannedConfig, plan: Plan) -> str:
    """The learning rate over the steps, as `fit` sets it."""
    columns = min(CURVE_COLUMNS, plan.total_steps)
    steps = [column * (plan.total_steps - 1) // max(1, columns - 1) for column in range(columns)]
    rates = [
        learning_rate(
            step,
            kind=config.schedule.kind,
            peak=config.optim.lr,
            warmup_steps=plan.warmup_steps,
            total_steps=plan.total_steps,
        )
        for step in steps
    ]
    highest = max(rates)
    heights = [round(rate / highest * CURVE_LINES) if highest else 0 for rate in rates]
    lines = []
    for line in range(CURVE_LINES, -1, -1):
        label = {CURVE_LINES: f"{highest:.1e}", 0: "0"}.get(line, "")
        marks = "".join("*" if height == line else " " for height in heights)
        lines.append(f"{label:>9} |{marks}".rstrip())
    axis = f"{'':9} +{'-' * columns}\n{'step':>9}  1{plan.total_steps:>{max(1, columns - 1)},}"
    return f"\nlearning rate ({config.schedule.kind})\n" + "\n".join(lines) + f"\n{axis}\n"


def memory_lines(case: Case) -> str:
    """One GPU at its fullest, by what it holds."""
    held, state = memory(case), state_bytes(case)
    n = sum(case.numels)
    state_rows = [
        ("weights", state.weights, f"{state.weights / n:.2f} bytes a parameter"),
        ("gradients", state.gradients, f"{state.gradients / n:.2f}"),
        ("master weights", state.master, f"{state.master / n:.2f}"),
        ("moments", state.moments, f"{state.moments / n:.2f}"),
    ]
    tokens = case.workload.peak_tokens(case.config, case.busiest_rows)
    pass_rows = [
        ("buckets", held.buckets, "of gradients, by DeepSpeed"),
        ("gathered parameters", held.gathered, "at most"),
        ("activations", held.activations, f"{tokens:,} tokens, {case.config.model.recompute}"),
        ("backward of a layer", held.working, ""),
        ("logits", held.logits, "a chunk of them, and the head's gradient"),
        ("gradients in flight", held.in_flight, ""),
    ]
    if held.update > held.in_pass:
        pass_rows[1:] = [("update", held.update, "more than a forward and backward pass takes")]
    other_rows = [
        ("fragmentation", held.fragmentation, "assumed"),
        ("CUDA and NCCL", held.context, "assumed"),
    ]
    lines = [
        f"  {name:<20}{n_bytes / GIB:>9.2f}  {note}".rstrip()
        for name, n_bytes, note in state_rows + pass_rows + other_rows
    ]
    room = case.hardware.gpu.memory_gib
    verdict = "fits" if fits(case) else "DOES NOT FIT"
    return "\n".join(
        [
            "\none GPU, GiB",
            *lines,
            f"  {'':20}{held.total / GIB:>9.2f}  of {room:.1f}: {verdict}; largest micro-batch "
            f"{largest_rows(case)} rows",
            "",
        ]
    )


def storage_lines(case: Case) -> str:
    checkpoints, model = disk_bytes(case)
    copy = CHECKPOINT_BYTES * sum(case.numels) / writing_processes(case)
    return (
        f"\nhost memory of a node: {host_bytes(case) / GIB:,.0f} GiB, of which {copy / GIB:,.1f} "
        "GiB a process hold what checkpoints are written from\ndisk: "
        f"{checkpoints / 1e9:,.1f} GB of checkpoints at most, {model / 1e9:,.1f} GB of model\n"
    )


def layout_table(case: Case, layouts: Sequence[Layout]) -> str:
    """Every way to shard at the same micro-batch."""
    rows = [
        "\nseconds of a step, by zero=…            GiB   rows  compute  network     step   tokens/s"
    ]
    for layout in layouts:
        took = times(layout.case)
        mark = ">" if is_same_zero(layout.case, case) else " "
        total = memory(layout.case).total / GIB
        full = " " if fits(layout.case) else "!"
        network = took.micro_steps * took.communication + took.exposed
        rows.append(
            f"{mark} {layout.override:<35}{total:>6.1f}{full}{largest_rows(layout.case):>6}"
            f"{_seconds(took.micro_steps * took.compute):>9}{_seconds(network):>9}"
            f"{_seconds(took.step):>9}"
            f"{tokens_per_second(layout.case):>11,.0f}"
        )
    return "\n".join(rows) + "\n  (rows: the largest micro-batch that fits; !: does not fit)\n"


def expectation(case: Case, plan: Plan) -> str:
    speed, took = tokens_per_second(case), times(case)
    duration = _duration(plan.stop_step * took.step)
    per_gpu = speed / case.hardware.world_size
    return (
        f"\nexpected: {_seconds(took.step)} s a step, {speed:,.0f} tokens/s "
        f"({per_gpu:,.0f} a GPU, MFU {mfu(case):.0%}), {duration}\n"
    )


def scaling_table(case: Case) -> str:
    """The same batch on ever more nodes, and one that grows to a full micro-batch on every GPU."""
    lines = [
        "\nscaling                 this batch                    a full micro-batch on every GPU",
        " nodes   GPUs GiB/GPU   s/step    tokens/s speed-up  tokens/step    tokens/s  best zero",
    ]
    alone = tokens_per_second(case.on_nodes(1))
    for nodes in SCALE:
        here = case.on_nodes(nodes)
        grown = _grown(here)
        speed, best = tokens_per_second(here), fastest(grown)
        name = best.override.split()[0].removeprefix("zero=") if best else ""
        found = f"{name} {tokens_per_second(best.case):,.0f}" if best else "none fits"
        lines.append(
            f"{nodes:>6,}{here.hardware.world_size:>7,}{memory(here).total / GIB:>8.1f}"
            f"{_seconds(times(here).step):>9}{speed:>12,.0f}{speed / alone:>9.2f}"
            f"{step_tokens(grown):>13,.0f}{tokens_per_second(grown):>12,.0f}  {found}"
        )
    return "\n".join(lines) + "\n\n"


def bottleneck(case: Case) -> str:
    """What a step waits for, and what more nodes bring."""
    took, nodes = times(case), case.hardware.nodes
    busy = case.hardware.world_size - case.idle_gpus
    compute = took.micro_steps * took.compute
    network = took.micro_steps * took.communication + took.exposed
    lines = [
        f"A step is bound by {'communication' if network > compute else 'arithmetic'}: its "
        f"{step_tokens(case) / busy:,.0f} tokens a busy GPU are",
        f"{_seconds(compute)} s of arithmetic, beside {_seconds(network)} s of communication.",
    ]
    if took.offload > took.step / 2:
        lines.append(f"Most of it goes into offloading: {_seconds(took.offload)} s.")
    if nodes > 1:
        faster = tokens_per_second(case) / tokens_per_second(case.on_nodes(1))
        lines.append(f"{nodes} nodes are {faster:.2f} times as fast as one.")
        if faster < WELL_USED * nodes:
            lines.append(
                "The global batch is too small for them: a larger one uses them; a smaller "
                "micro-batch gives\nrows to idle GPUs, a larger one saves micro-steps."
            )
    return "\n".join(lines) + "\n"


def recommendation(
    case: Case, best: tuple[str, Case] | None, freer: tuple[str, Case] | None
) -> str:
    """`best` keeps the loss what it is; `freer` may change `loss.normalisation`."""
    if best is None:
        text = "Recommended: as it is; nothing that fits is predicted to be 3 % faster.\n"
    else:
        text = f"Recommended: {_compared(case, best)}"
    if freer is not None and (best is None or freer[0] != best[0]):
        text += (
            f"With loss.normalisation=global_tokens, which lets the micro-batch change without the "
            f"loss:\n  {_compared(case, freer)}"
        )
    return text


def _compared(case: Case, best: tuple[str, Case]) -> str:
    override, changed = best
    now, then = times(case), times(changed)
    return (
        f"{override}\n"
        f"  now   {_parts(now)}\n"
        f"  then  {_parts(then)}, {memory(changed).total / GIB:.1f} GiB a GPU\n"
    )


def _parts(took: Times) -> str:
    parts = {
        "arithmetic": took.micro_steps * took.compute,
        "communication": took.micro_steps * took.communication + took.exposed,
        "update": took.update,
        "offloading": took.offload,
    }
    named = [f"{name} {_seconds(seconds)}" for name, seconds in parts.items() if seconds]
    return f"{_seconds(took.step)} s a step: " + ", ".join(named)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}" if seconds >= 0.01 else f"{seconds:.1e}"


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes / 60:,.1f} hours" if minutes >= 90 else f"{minutes:.1f} minutes"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _grown(case: Case) -> Case:
    """With a global batch of at least one whole micro-batch on every GPU."""
    whole = case.config.batch.rows_per_micro_step * case.hardware.world_size
    return case.with_rows_per_step(max(whole, case.config.rows_per_step))
