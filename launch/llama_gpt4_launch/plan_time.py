"""How long a step takes: an estimate from the arithmetic, the bytes that cross each link, and what
`plan.assume` says of both.

    arithmetic      model_flops / (peak * compute_frac), more where layers are computed again
    collective      bytes * (W - 1) / W / bandwidth, and a latency that grows with the ring
    bandwidth       bandwidth_frac * min(link of a GPU, adapters of a node): every byte of a ring
                    passes each GPU's link, and the rings share the adapters of the node
    micro-step      the longer of arithmetic and communication, since ZeRO-2 and 3 overlap them
    step            its micro-steps, then what is not overlapped: ZeRO-1's reduction, the gathering
                    of updated weights (stages 1 and 2), the update, copies to and from the host

Bytes of one GPU, for N weights of b bytes each: ZeRO-3 gathers N b for every pass (forward,
backward and replay) and reduces N b, in each micro-step. hpZ gathers within the host but for the
first time in a step. ZeRO-2 all-reduces N b in each micro-step, stages 0 and 1 once a step.
"""

import math
from dataclasses import dataclass

from llama_gpt4.architecture import model_flops
from llama_gpt4_launch.plan_case import Case

# Seconds of one hop, as NCCL's own cost model has them (src/graph/tuning.cc, ring and tree with
# the Simple protocol): to a GPU of the same node, and to another node.
NEAR_SECONDS, FAR_SECONDS, START_SECONDS = 3.4e-6, 14e-6, 8.4e-6
REPLAYED_FORWARDS = {"none": 0.0, "lean": 0.0, "attention": 0.69, "full": 0.78}
"""Of products, in forward passes: `llama_gpt4/recompute.py`."""
UPDATE_BYTES = 46
"""Read and written a parameter: norm 4, clipping 8, AdamW 28, weights in training precision 6."""
HOST_UPDATE_BYTES = 30
"""Likewise by AdamW on the host, where clipping is left out of the count."""
LAYER_MATRICES = 7
"""Collectives a layer and pass: DeepSpeed gathers and reduces about one matrix at a time."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds of one step, and of one of its micro-steps."""

    compute: float
    """Arithmetic of a micro-step on the busiest GPU."""
    communication: float
    """Of a micro-step."""
    micro_steps: int
    exposed: float
    """Communication of a step that nothing overlaps."""
    update: float
    offload: float
    """Copies between host and GPU, and the update on the host."""

    @property
    def step(self) -> float:
        passes = self.micro_steps * max(self.compute, self.communication)
        return passes + self.exposed + self.update + self.offload


def times(case: Case) -> Times:
    compute = row_seconds(case) * case.busiest_rows
    communication, exposed = _communication(case)
    update, offload = _update(case)
    return Times(
        compute=compute,
        communication=communication,
        micro_steps=case.micro_steps,
        exposed=exposed,
        update=update,
        offload=offload,
    )


def step_tokens(case: Case) -> float:
    """Mean tokens in a step, over all GPUs."""
    work = case.workload
    return work.tokens / work.rows * case.config.rows_per_step


def tokens_per_second(case: Case) -> float:
    """Over all GPUs."""
    return step_tokens(case) / times(case).step


def flops_per_row(case: Case) -> float:
    """Of a forward and backward pass over a mean row, without what is computed again."""
    work = case.workload
    whole = model_flops(case.architecture, work.tokens, work.squared_lengths, work.target_tokens)
    return whole / work.rows


def peak_flops(case: Case) -> float:
    gpu = case.hardware.gpu
    is_float32 = case.config.precision.dtype == "float32"
    return 1e12 * (gpu.float32_tflops if is_float32 else gpu.bfloat16_tflops)


def mfu(case: Case) -> float:
    """Share of the GPUs' peak that the model's own arithmetic comes to."""
    gpus = case.hardware.world_size
    return (
        flops_per_row(case) * case.config.rows_per_step / times(case).step / gpus / peak_flops(case)
    )


def row_seconds(case: Case) -> float:
    again = REPLAYED_FORWARDS[case.config.model.recompute] / 3  # forward is a third of the whole
    reached = peak_flops(case) * case.hardware.assume.compute_frac
    return flops_per_row(case) * (1 + again) / reached


def ring_seconds(case: Case, n_bytes: float, calls: int, nodes: int) -> float:
    """Gather or reduce `n_bytes` in `calls` operations over `nodes` nodes."""
    hardware = case.hardware
    world = nodes * hardware.gpus_per_node
    if world == 1:
        return 0.0
    near, far = world - nodes, nodes - 1
    latency = START_SECONDS + near * NEAR_SECONDS + far * FAR_SECONDS
    return n_bytes * (world - 1) / world / _bandwidth(case, nodes) + calls * latency


def all_reduce_seconds(case: Case, n_bytes: float, calls: int) -> float:
    """Twice a ring's bytes; of latencies the smaller of ring and tree."""
    hardware = case.hardware
    world, nodes = hardware.world_size, hardware.nodes
    if world == 1:
        return 0.0
    ring = 2 * ((world - nodes) * NEAR_SECONDS + (nodes - 1) * FAR_SECONDS)
    tree = 2 * ((hardware.gpus_per_node - 1) * NEAR_SECONDS + math.log2(nodes) * FAR_SECONDS)
    latency = START_SECONDS + min(ring, tree)
    return 2 * n_bytes * (world - 1) / world / _bandwidth(case, nodes) + calls * latency


def _bandwidth(case: Case, nodes: int) -> float:
    """Bytes a second, of one GPU in a collective over `nodes` nodes."""
    hardware = case.hardware
    near = hardware.gpu.link_gb_s if hardware.gpus_per_node > 1 else math.inf
    far = hardware.network_gb_s if nodes > 1 else math.inf
    return min(near, far) * 1e9 * hardware.assume.bandwidth_frac


def _communication(case: Case) -> tuple[float, float]:
    """(of one micro-step, of a step beyond its micro-steps)"""
    config, nodes = case.config, case.hardware.nodes
    n_bytes = case.item_bytes * sum(case.numels)
    calls = LAYER_MATRICES * case.architecture.n_layers + 2
    if config.zero.stage == 3:
        return _sharded_communication(case, n_bytes, calls), 0.0
    if config.zero.stage == 2:
        gathered = ring_seconds(case, n_bytes, 2, nodes)
        return all_reduce_seconds(case, n_bytes, calls), gathered
    reduced = all_reduce_seconds(case, n_bytes, math.ceil(sum(case.numels) / 5e8))
    return 0.0, reduced + (ring_seconds(case, n_bytes, 2, nodes) if config.zero.stage else 0.0)


def _sharded_communication(case: Case, n_bytes: float, calls: int) -> float:
    config, nodes = case.config, case.hardware.nodes
    gathers = 3 if config.model.recompute in ("attention", "full") else 2
    wide = ring_seconds(case, n_bytes, calls, nodes)
    near_gathers = 0.0
    if config.zero.hpz_processes > 1:
        # Of a step's gathers only the first is over all nodes.
        near_gathers = gathers - 1 / case.micro_steps
    near = ring_seconds(case, n_bytes, calls, 1) if near_gathers else 0.0
    seconds = (gathers - near_gathers + 1) * wide + near_gathers * near
    if config.zero.offload_parameters:
        share = n_bytes / case.hardware.world_size
        seconds += gathers * share / (case.hardware.gpu.host_gb_s * 1e9)
    return seconds


def _update(case: Case) -> tuple[float, float]:
    """(update on the GPU, all that an offloaded optimizer takes)"""
    hardware, zero = case.hardware, case.config.zero
    own = sum(case.numels) / (hardware.world_size if zero.stage else 1)
    if not zero.offload_optimizer:
        return UPDATE_BYTES * own / (hardware.gpu.memory_gb_s * 1e9), 0.0
    copied = own * case.item_bytes * (case.micro_steps + 1)
    over_link = copied / (hardware.gpu.host_gb_s * 1e9)
    on_host = HOST_UPDATE_BYTES * own * hardware.gpus_per_node
    return 0.0, over_link + on_host / (hardware.assume.host_memory_gb_s * 1e9)
