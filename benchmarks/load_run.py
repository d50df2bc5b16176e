"""One rank of `load.py`, started by torchrun: it loads a checkpoint, and says what that took."""

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SIZES = {
    "n_layers": 10,
    "hidden_size": 2048,
    "feed_forward_size": 5504,
    "n_heads": 16,
    "n_kv_heads": 16,
}
VOCAB_SIZE = 32000


class MemoryPeak:
    """The largest anonymous memory of this process since the last `start`, seen every 5 ms."""

    def __init__(self) -> None:
        self._peak = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def start(self) -> int:
        """Forget the past; the bytes of now."""
        self._peak = anonymous_bytes()
        return self._peak

    def peak(self) -> int:
        return max(self._peak, anonymous_bytes())

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(0.005):
            self._peak = max(self._peak, anonymous_bytes())


def anonymous_bytes() -> int:
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def bytes_read() -> int:
    """By this process, in calls of `read`, since it began."""
    with open("/proc/self/io") as file:
        return int(file.readline().split()[1])


class Marks:
    """What one rank used in each phase, from its end to the end of the phase before."""

    def __init__(self) -> None:
        self._memory = MemoryPeak()
        self._base = self._memory.start()
        self._time, self._read = time.perf_counter(), bytes_read()
        self.phases: dict[str, dict[str, float]] = {}

    def end(self, phase: str) -> None:
        now, read = time.perf_counter(), bytes_read()
        self.phases[phase] = {
            "seconds": now - self._time,
            "anonymous_bytes": self._memory.peak() - self._base,
            "read_bytes": read - self._read,
        }
        self._memory.start()
        self._time, self._read = now, read

    def stop(self) -> None:
        self._memory.stop()


class Marked:
    """A source of weights that tells when the model is built and the first weight is wanted."""

    def __init__(self, source: Any, marks: Marks) -> None:
        self._source, self._marks = source, marks

    def fill(self, name: str, start: int, target: Tensor) -> None:
        if not self._marks.phases:
            self._marks.end("build")
        self._source.fill(name, start, target)


def measure(way: str, folder: Path, out: Path) -> None:
    """Load `folder`, and leave the measurements in `out`."""
    from llama_gpt4.compose import compose_training
    from llama_gpt4.ranks import join, leave

    sizes = [f"model.{key}={value}" for key, value in SIZES.items()]
    config = compose_training(
        [*sizes, "precision.dtype=bfloat16", "zero=stage3", "launch.device=cpu"]
    )
    ranks = join(config.launch)
    # What both ways import counts for neither.
    import deepspeed
    from transformers import AutoModelForCausalLM
    from transformers.integrations import HfDeepSpeedConfig
    from transformers.models.llama import modeling_llama  # noqa: F401

    from llama_gpt4 import engine as engines
    from llama_gpt4.architecture import from_sizes
    from llama_gpt4.deepspeed_config import deepspeed_config
    from llama_gpt4.weights import folder_weights

    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])  # the first one imports a compiler
    torch.distributed.barrier()
    marks = Marks()
    held: dict[str, int] = {}
    initialize = deepspeed.initialize

    def marked_initialize(*args: Any, **kwargs: Any) -> Any:
        marks.end("load")
        model = kwargs["model"]
        held["bytes"] = sum(p.ds_tensor.nbytes for p in model.parameters())
        return initialize(*args, **kwargs)

    deepspeed.initialize = marked_initialize
    architecture = from_sizes(config.model, VOCAB_SIZE)
    if way == "ours":
        source = Marked(folder_weights(folder, architecture), marks)
        engine = engines.build_engine(config, architecture, source, ranks)
    else:
        settings = deepspeed_config(config, architecture.hidden_size, ranks.world_size)
        kept_alive = HfDeepSpeedConfig(settings)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
        engine, *_ = deepspeed.initialize(
            model=model,
            optimizer=engines._adamw(model, config),
            config=settings,
            dist_init_required=False,
        )
        del kept_alive
    marks.end("initialize")
    del engine
    result = {"phases": marks.phases, "partition_bytes": held["bytes"]}
    (out / f"rank-{ranks.rank}.json").write_text(json.dumps(result))
    leave()


if __name__ == "__main__":
    measure(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
