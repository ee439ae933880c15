"""What stands around a prompt's text: the start token, or the turns of a chat template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracegen.base.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CONTENT = "\N{OBJECT REPLACEMENT CHARACTER}"  # a character that no template holds


@dataclass(frozen=True, slots=True)
class Frame:
    """Tokens before and after the text of a prompt."""

    before: Sequence[int]
    after: Sequence[int]

    def around(self, token_ids: Sequence[int]) -> list[int]:
        """Return the whole prompt; a start token that the text states itself is not repeated."""
        text = list(token_ids)
        if self.before and text[: len(self.before)] == list(self.before):
            text = text[len(self.before) :]
        return [*self.before, *text, *self.after]


def plain(tokenizer: "PreTrainedTokenizerBase") -> Frame:
    """Return the frame of a text: the tokens that the tokenizer itself puts around it."""
    text = text_ids(tokenizer, _CONTENT)
    whole = list(tokenizer(_CONTENT)["input_ids"])
    for start in range(len(whole) - len(text) + 1):
        if whole[start : start + len(text)] == text:
            return Frame(whole[:start], whole[start + len(text) :])
    return Frame([], [])


def start_token(tokenizer: "PreTrainedTokenizerBase") -> Frame:
    """Return the frame of a generated prompt: the start token where the tokenizer has one."""
    first = tokenizer.bos_token_id
    return Frame([] if first is None else [int(first)], [])


def chat(tokenizer: "PreTrainedTokenizerBase", model: str) -> Frame:
    """Return the frame of one user's message in the model's own chat template.

    Raises:
        UserError: the tokenizer has no chat template, or one that rejects such a message.
    """
    text = _filled(tokenizer, model, [{"role": "user", "content": _CONTENT}])
    before, found, after = text.partition(_CONTENT)
    if not found:
        raise UserError(f"--chat: the chat template of {model} leaves out the user's message")
    return Frame(text_ids(tokenizer, before), text_ids(tokenizer, after))


def conversation(
    tokenizer: "PreTrainedTokenizerBase", model: str, messages: Sequence[Mapping[str, str]]
) -> list[int]:
    """Return the tokens of messages in the model's own chat template, up to the answer's start.

    Raises:
        UserError: the tokenizer has no chat template, or one that rejects the messages.
    """
    return text_ids(tokenizer, _filled(tokenizer, model, [dict(one) for one in messages]))


def _filled(
    tokenizer: "PreTrainedTokenizerBase", model: str, messages: list[dict[str, str]]
) -> str:
    """Return the text that a chat template makes of messages, up to the start of the answer."""
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            f"--chat: the tokenizer of {model} has no chat template; give an instruct model, or a "
            "prompt that is a text"
        )
    try:
        return str(
            tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        )
    except Exception as error:  # templates are programs of their authors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"--chat: the chat template of {model} fails ({reason})") from error


def text_ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    """Return the tokens of a text alone."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
