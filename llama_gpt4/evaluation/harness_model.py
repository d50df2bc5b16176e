"""A model of ours as the lm-evaluation-harness asks it: by the token ids that it was trained on."""

from pathlib import Path

import torch
from lm_eval.models.huggingface import HFLM

from llama_gpt4.errors import InputError
from llama_gpt4.prompt import CHAT_TEMPLATE
from llama_gpt4.tokenizer import Tokenizer


class InstructedModel(HFLM):
    """Its chat template writes Alpaca's prompt, with the one BOS that the harness then leaves out.

    The harness encodes prompt and answer as one text and cuts it at the prompt's length. LLaMA's
    vocabulary has pieces such as `:(` and `:"`, so that an answer's first character would join the
    colon of `### Response:` and its probability would never be asked for. Training encodes the two
    apart, and so does this.
    """

    def __init__(self, folder: Path, device: str, batch_size: int) -> None:
        super().__init__(
            pretrained=str(folder),
            device=device,
            dtype="float32" if device == "cpu" else "auto",
            batch_size=batch_size,
        )
        self._trained = Tokenizer.load(folder)
        self._is_ours = self.tokenizer.chat_template == CHAT_TEMPLATE

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Ids of the prompt with BOS, and of an answer without EOS."""
        if not self._is_ours:
            return super()._encode_pair(context, continuation)
        said = context.rstrip()  # a space goes with what follows it, as the harness has it
        [answer] = self._trained.encode_answers([context[len(said) :] + continuation])
        return self.tok_encode(said), answer[:-1]


def language_model(folder: Path, device: str, batch_size: int) -> InstructedModel:
    """The model in `folder`, as `answer` loads it; `InputError` if nobody knows how to ask it."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device=cuda: PyTorch sees no CUDA device here; use device=cpu")
    if not (folder / "config.json").is_file():
        raise InputError(f"model.path={folder} has no config.json: name the folder of a model")
    model = InstructedModel(folder, device, batch_size)
    if model.tokenizer.chat_template is None:
        raise InputError(
            f"model.path={folder} has no chat template, so nobody knows how to ask it: name a "
            "model that was tuned to answer, or add the chat_template.jinja it was tuned with"
        )
    return model
