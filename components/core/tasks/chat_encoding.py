"""From conversations to token ids: written once, encoded once, and shortened by whole turns where they are too long."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.core.tasks.chat_layout import ChatLayout, Written
from components.core.tasks.chat_rows import Message
from components.core.tasks.rendering import IGNORED_LABEL
from components.core.tasks.seam import Encoded, EncodedPrompts

if TYPE_CHECKING:
    from tokenizers import Encoding


@dataclass
class _Conversation:
    """One conversation on its way to token ids."""

    messages: Sequence[Message]
    written: Written
    encoding: "Encoding"
    cut: bool = False
    """Its oldest turns were left out."""


def encode_conversations(
    conversations: Sequence[Sequence[Message]], layout: ChatLayout, max_length: int, last_only: bool, window: bool
) -> Encoded:
    """Token ids of whole conversations, with the loss on what the assistant says.

    Args:
        conversations: Canonical messages.
        layout: Of the tokenizer.
        max_length: Tokens per conversation.
        last_only: True: the loss is on the last assistant turn only.
        window: What happens to one that is too long. True: its oldest turns are left out (the system message stays),
            and of the last one alone the end. False: it is left out.
    """
    found = _encode(conversations, layout, False)
    if window:
        _leave_out_oldest(found, layout, max_length, False)
    input_ids: list[list[int]] = []
    labels: list[list[int]] = []
    cuts: list[bool] = []
    for each in found:
        ids = layout.encoder.token_ids(each.encoding)
        too_long = len(ids) > max_length
        hidden = [IGNORED_LABEL] * len(ids)
        if not too_long or window:
            for start, end in each.written.learned[-1:] if last_only else each.written.learned:
                first, last = token_range(each.encoding, start, end)
                hidden[first:last] = ids[first:last]
        kept = [] if too_long and not window else ids[:max_length]
        input_ids.append(kept)
        labels.append(hidden[: len(kept)])
        cuts.append(each.cut or (too_long and window))
    return Encoded(input_ids, labels, cuts)


def encode_openings(conversations: Sequence[Sequence[Message]], layout: ChatLayout, max_length: int) -> EncodedPrompts:
    """Token ids of conversations that end with a user, with the start of the assistant's turn.

    One that is too long loses its oldest turns; of the last message alone the last `max_length` tokens remain.
    """
    found = _encode(conversations, layout, True)
    _leave_out_oldest(found, layout, max_length, True)
    return EncodedPrompts(
        [layout.encoder.token_ids(each.encoding)[-max_length:] for each in found],
        [each.cut or len(each.encoding) > max_length for each in found],
    )


def token_range(encoding: "Encoding", start: int, end: int) -> tuple[int, int]:
    """First token and one past the last that hold some of the characters from `start` to `end`."""
    first = None
    while first is None and start < end:
        first, start = encoding.char_to_token(start), start + 1
    if first is None:
        return 0, 0
    last = None
    while last is None:
        last, end = encoding.char_to_token(end - 1), end - 1
    last += 1
    # a character of several bytes may be several tokens
    while last < len(encoding) and (span := encoding.token_to_chars(last)) is not None and span[0] <= end < span[1]:
        last += 1
    return first, last


def _encode(conversations: Sequence[Sequence[Message]], layout: ChatLayout, generation: bool) -> list[_Conversation]:
    written = [layout.write(messages, generation) for messages in conversations]
    encodings = layout.encoder.encode([each.text for each in written])
    return [_Conversation(*parts) for parts in zip(conversations, written, encodings, strict=True)]


def _leave_out_oldest(found: Sequence[_Conversation], layout: ChatLayout, max_length: int, generation: bool) -> None:
    """Leave out as many of the oldest turns as it takes, of all conversations at once."""
    while True:
        long = [each for each in found if len(each.encoding) > max_length and len(each.written.user_starts) > 1]
        if not long:
            return
        shorter = [_without_oldest(each, len(each.encoding) - max_length) for each in long]
        for each, again in zip(long, _encode(shorter, layout, generation), strict=True):
            each.messages, each.written, each.encoding, each.cut = again.messages, again.written, again.encoding, True


def _without_oldest(conversation: _Conversation, surplus: int) -> list[Message]:
    """Messages from the first user message on before which as many tokens as are too many stand."""
    first, *others = (
        token_range(conversation.encoding, start, len(conversation.written.text))[0]
        for start in conversation.written.user_starts
    )
    dropped = next((number for number, token in enumerate(others, 1) if token - first >= surplus), len(others))
    messages = conversation.messages
    system = [message for message in messages[:1] if message["role"] == "system"]
    turns = messages[len(system) :]
    # user and assistant take turns
    return [*system, *turns[2 * dropped :]]
