"""How long a run is, and the learning rate of every step in closed form; nothing else sets it."""

import math
from dataclasses import dataclass
from fractions import Fraction

from llama_gpt4.config import RunConfig


def warmup_steps(frac: float, total: int) -> int:
    """ceil(frac * total), with `frac` taken as the decimal number that was written.

    In floating point 0.07 * 100 is above 7, and its ceiling 8.
    """
    return math.ceil(Fraction(repr(float(frac))) * total)


def learning_rate(
    step: int, *, kind: str, peak: float, warmup_steps: int, total_steps: int
) -> float:
    """The rate of the update number `step`, counted from 0.

    With t = step, W = warmup_steps, S = total_steps, and p = min(1, (t - W) / (S - W)):

    all but the last kind, t < W:  peak * t / W               as Hugging Face: the first is 0
    `cosine`,   t >= W:            peak * (1 + cos(pi p)) / 2
    `linear`,   t >= W:            peak * (1 - p)
    `constant`, t >= W:            peak
    `log_warmup_constant`:         peak * ln(t + 1) / ln(W)   while t < W, then peak

    The last is DeepSpeed's WarmupLR, which the released GPT-4-LLM command runs although it asks
    for cosine. `cosine` and `linear` stay at 0 when training goes on after step S.
    """
    if kind == "log_warmup_constant":
        if step >= warmup_steps:
            return peak
        # ln 1 is 0; like WarmupLR, a warm-up of one step counts as two.
        return peak * math.log(step + 1) / math.log(max(2, warmup_steps))
    if step < warmup_steps:
        return peak * step / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    if kind == "cosine":
        return peak * (1 + math.cos(math.pi * progress)) / 2
    if kind == "linear":
        return peak * (1 - progress)
    assert kind == "constant", kind
    return peak


@dataclass(frozen=True)
class Plan:
    """The run in steps."""

    total_steps: int
    """Length of the learning-rate schedule."""
    warmup_steps: int
    stop_step: int
    """Where training ends, by `train.steps` or with the schedule."""


def plan_steps(config: RunConfig, steps_per_epoch: int) -> Plan:
    """How many steps the run and its schedule take."""
    total = config.schedule.steps or math.ceil(config.train.epochs * steps_per_epoch)
    return Plan(
        total_steps=total,
        warmup_steps=warmup_steps(config.schedule.warmup_frac, total),
        stop_step=config.train.steps or total,
    )
