"""`llama-gpt4 <verb>`: a table from verb to the module that does it, imported when asked for."""

import importlib
import sys
from collections.abc import Sequence

from llama_gpt4.program import show

VERBS = {
    "train": ("llama_gpt4_launch.local", "fine-tune a model on the processes of this host"),
    "launch": ("llama_gpt4_launch.launch", "the same on other hosts: hostfile, Slurm, Kubernetes"),
    "prepare": ("llama_gpt4.prepare", "tokenise the data and say what fits, without training"),
    "plan": ("llama_gpt4_launch.plan", "say what a training needs, and whether it fits the GPUs"),
    "export": ("llama_gpt4.export", "make a Hugging Face folder of a checkpoint"),
    "vocab": ("llama_gpt4.vocab", "more pieces for a tokenizer, such as Chinese ones for LLaMA's"),
    "push": ("llama_gpt4.push", "put a model and its card on the Hugging Face hub"),
    "answer": ("llama_gpt4.answer", "let a model answer a file of questions"),
    "evaluate": ("llama_gpt4.evaluate", "measure answers, texts and reward models"),
    "report": ("llama_gpt4.evaluation.report", "the paper's figures and yours on one page"),
    "doctor": ("llama_gpt4_launch.doctor", "check that all hosts are ready for a training"),
    "chat": ("llama_gpt4.chat", "talk to a model"),
    "reward": ("llama_gpt4_launch.reward", "train a model that learns which answer is better"),
    "dpo": ("llama_gpt4_launch.dpo", "train a model on preferences, from a fine-tuned one"),
    "rank": ("llama_gpt4_data.rank", "sort the answers to each question by a reward model"),
    "data": ("llama_gpt4_data.cli", "make data with a teacher such as GPT-4, and check data"),
}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        show(_help())
        return 0 if arguments else 2
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        print(f"llama-gpt4: {verb} is not a verb; there are {', '.join(VERBS)}", file=sys.stderr)
        return 2
    return importlib.import_module(VERBS[verb][0]).main(rest)


def _help() -> str:
    verbs = "\n".join(f"  {verb:<9}{what}" for verb, (_, what) in VERBS.items())
    return (
        "usage: llama-gpt4 <verb> [key=value …]\n\n"
        f"{verbs}\n\n"
        "Keys are Hydra overrides: experiment=alpaca_7b optim.lr=1e-5 'data.files=[a.json]'.\n"
        "`llama-gpt4 <verb> --help` lists the keys of a verb, `--cfg` prints what they come to.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
