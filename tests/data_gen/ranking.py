"""What the tests of ranking share: a reward model, and files of answers for it."""

import json
from pathlib import Path
from typing import Any

from llama_gpt4_data.candidates import Candidate, Candidates
from llama_gpt4_data.hub_tokenizer import HubTokenizer

from llama_gpt4.questions import Question

DECODING = {"max_new_tokens": 8, "temperature": 1.0, "top_p": 1.0, "seed": 42}


def write_reward_model(opt: Path, folder: Path, seed: int = 0) -> Path:
    """A tiny OPT with a random head: it tells answers apart, if for no good reason."""
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(opt, num_labels=1)
    model.save_pretrained(folder)
    HubTokenizer.load(opt).save(folder, max_tokens=256)
    return folder


def line(id: str | int, sample: int, answer: str, **more: Any) -> dict[str, Any]:
    """A line of `llama-gpt4 answer`."""
    made_by = {"model": "runs/m", "decoding": DECODING, "finish_reason": "stop"}
    question = {"question_id": id, "question": f"Question {id}?"}
    return question | {"answer": answer, "sample": sample} | made_by | more


def write_answers(path: Path, n_questions: int = 4, samples: int = 3) -> Path:
    """All different, and of several lengths."""
    return write_lines(
        path,
        *(
            line(q, k, f"Answer {k} " + "and so on " * ((q + k) % 3))
            for q in range(n_questions)
            for k in range(samples)
        ),
    )


def write_lines(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in lines))
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text().splitlines()]


def candidates(*answers: list[str]) -> list[Candidates]:
    """The answers to one question after the other."""
    return [
        Candidates(
            Question(i, f"Question {i}?", ""),
            [Candidate(text, "a.jsonl", k, "m", None, "stop") for k, text in enumerate(own)],
        )
        for i, own in enumerate(answers)
    ]
