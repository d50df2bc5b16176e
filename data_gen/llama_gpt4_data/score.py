"""Rewards of responses by an exported reward model, whoever exported it: a folder in the format of
Hugging Face's `…ForSequenceClassification` with one label."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llama_gpt4.architecture import described, from_hugging_face
from llama_gpt4.errors import InputError, require
from llama_gpt4.hub_attention import implementation
from llama_gpt4_data.groups import Group, Groups
from llama_gpt4_data.reward_backbone import hub_config, quiet, require_headed, require_reward_model
from llama_gpt4_data.reward_examples import Compared
from llama_gpt4_data.reward_model import HubReward, LlamaReward
from llama_gpt4_data.reward_writer import Encoder

TOKENS_PER_BATCH = 8192


def rewards(model_folder: Path, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """The reward of each of `responses` to the rendered prompt in the same place."""
    return Scorer(model_folder).rewards(prompts, responses)


@dataclass(frozen=True)
class Encoded:
    """A response as tokens."""

    prompt: tuple[int, ...]
    """With BOS."""
    answer: tuple[int, ...]
    """With EOS."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


class Scorer:
    """A reward model and its tokenizer, ready to read responses."""

    def __init__(self, folder: Path, device: torch.device | None = None) -> None:
        require_reward_model(folder)
        self._folder = folder
        self._device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        is_llama = _is_llama(folder)
        self._model = (_llama if is_llama else _hub)(folder).to(self._device).eval()
        self._tokenizer: Encoder = _tokenizer(folder, is_llama)

    def rewards(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        """The reward of each of `responses` to the rendered prompt in the same place."""
        starts = self._tokenizer.encode_prompts(prompts)
        ends = self._tokenizer.encode_answers(responses)
        return self.rewards_of_tokens(
            [Encoded(tuple(s), tuple(e)) for s, e in zip(starts, ends, strict=True)]
        )

    def rewards_of(self, compared: Compared) -> list[npt.NDArray[np.float64]]:
        """(K,) of the responses to each prompt."""
        responses = []
        for i in range(compared.n):
            prompt = (*compared.prompt_of(i).tolist(),)
            rows = (ids.tolist() for ids in compared.tokens_of(i))
            responses.append([Encoded(prompt, (*ids[len(prompt) :],)) for ids in rows])
        rewards = self.rewards_of_tokens([*chain(*responses)])
        require(
            bool(np.isfinite(rewards).all()), f"{self._folder} gives rewards that are no number"
        )
        found = iter(rewards)
        return [np.array([next(found) for _ in own]) for own in responses]

    def rewards_of_tokens(self, responses: Sequence[Encoded]) -> list[float]:
        """The same of token ids; a prompt is read once for its responses in a batch."""
        found = torch.empty(len(responses))
        with torch.no_grad():
            for batch in batches_by_length(responses, TOKENS_PER_BATCH):
                tokens, groups = grouped([responses[i] for i in batch])
                found[batch] = self._model(torch.tensor(tokens).to(self._device), groups).cpu()
        return found.tolist()


def batches_by_length(responses: Sequence[Encoded], most_tokens: int) -> list[list[int]]:
    """Places of `responses` in batches that hold at most `most_tokens` where all are padded to the
    longest, or one place. Responses to a prompt are neighbours, and prompts go from the one with
    the longest response to the one with the shortest."""
    longest: dict[tuple[int, ...], int] = {}
    for each in responses:
        longest[each.prompt] = max(longest.get(each.prompt, 0), len(each))
    order = sorted(
        range(len(responses)),
        key=lambda i: (-longest[responses[i].prompt], responses[i].prompt, -len(responses[i])),
    )
    batches: list[list[int]] = []
    width = 0
    for i in order:
        width = max(width, len(responses[i]))
        if batches and width * (len(batches[-1]) + 1) <= most_tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
            width = len(responses[i])
    return batches


def grouped(responses: Sequence[Encoded]) -> tuple[list[int], Groups]:
    """The tokens of `responses`, where neighbours share their prompt, and what they are."""
    tokens: list[int] = []
    groups: list[Group] = []
    for prompt, own in groupby(responses, key=lambda each: each.prompt):
        answers = [each.answer for each in own]
        tokens += chain(prompt, *answers)
        groups.append(Group(len(prompt), tuple(map(len, answers))))
    return tokens, tuple(groups)


def encoder(folder: Path) -> Encoder:
    """The tokenizer of a reward model, without the model."""
    return _tokenizer(folder, _is_llama(folder))


def _is_llama(folder: Path) -> bool:
    return described(folder)["model_type"] == "llama"


def _llama(folder: Path) -> torch.nn.Module:
    from llama_gpt4.model import reference_decoder
    from llama_gpt4.weights import folder_weights

    architecture = from_hugging_face(described(folder))
    source = folder_weights(folder, replace(architecture, tie_embeddings=True))
    model = LlamaReward(reference_decoder(architecture))
    for name, parameter in model.named_parameters():
        target: Tensor = parameter.data.view(-1)
        source.fill(name, 0, target)
    return model


def _hub(folder: Path) -> torch.nn.Module:
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification

    quiet()
    settings = hub_config(folder)
    whole: Any
    try:
        whole, loading = AutoModelForSequenceClassification.from_pretrained(
            folder,
            config=settings,
            attn_implementation=implementation(settings),
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{folder}: its weights cannot be read: {reason}") from error
    # Else transformers makes them up.
    missing = min(loading["missing_keys"], default=None)
    require(missing is None, f"{folder} lacks the weight {missing}")
    require_headed(whole, str(folder))
    return HubReward(whole)


def _tokenizer(folder: Path, is_llama: bool) -> Encoder:
    if is_llama:
        from llama_gpt4.tokenizer import Tokenizer

        return Tokenizer.load(folder)
    from llama_gpt4_data.hub_tokenizer import HubTokenizer

    quiet()  # whoever asks says which text is too long
    return HubTokenizer.load(folder)
