"""`llama-gpt4 data <task>`: a table from task to its module, which is imported when asked for."""

import importlib
import sys
from collections.abc import Sequence

from llama_gpt4.program import show

TASKS = {
    "answer": ("llama_gpt4_data.answer", "have a teacher answer instructions"),
    "instruct": ("llama_gpt4_data.instruct", "have new instructions written, out of a few"),
    "translate": ("llama_gpt4_data.translate", "have instructions and inputs translated"),
    "rate": ("llama_gpt4_data.rate", "have a judge rate the answers of several models"),
    "compare": ("llama_gpt4_data.compare", "make pairs of better and worse answers of ratings"),
    "estimate": ("llama_gpt4_data.estimate", "say what a task would cost; nothing is sent"),
    "push": ("llama_gpt4_data.push", "upload a data set and its card to the Hugging Face hub"),
    "check": ("llama_gpt4_data.check", "look for faults in files of records, and clean them"),
    "batch-cancel": ("llama_gpt4_data.batch_cancel", "end the batches of a run"),
}


def main(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        show(_help())
        return 0 if argv else 2
    task, rest = argv[0], list(argv[1:])
    if task not in TASKS:
        known = ", ".join(TASKS)
        print(f"llama-gpt4 data: {task} is not a task; there are {known}", file=sys.stderr)
        return 2
    return importlib.import_module(TASKS[task][0]).main(rest)


def _help() -> str:
    tasks = "\n".join(f"  {task:<14}{what}" for task, (_, what) in TASKS.items())
    return (
        "usage: llama-gpt4 data <task> [key=value …]\n\n"
        f"{tasks}\n\n"
        "`llama-gpt4 data <task> --help` lists the keys of a task, `--cfg` prints what they come "
        "to.\n"
    )
