"""How a model is asked: with what it brings, or with what a general model behind a service is sent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from llm_endpoint.engines.seam import GenerationRequest, Message, Sampling
from llm_endpoint.errors import InvalidInput
from llm_endpoint.served.prompt import Prompt
from llm_endpoint.settings import Settings


@dataclass(frozen=True)
class Question:
    """A question with the context that should answer it."""

    question: str
    context: str


@dataclass(frozen=True)
class Asking:
    """What belongs to a model beside its weights."""

    prompt: Prompt
    has_chat: bool
    """It takes conversations."""
    shield: Callable[[str], str]
    """Marks control tokens of the prompt template for the encoder."""
    defaults: Sampling
    """Where a request says nothing."""

    def find_question(self, messages: Sequence[Message]) -> Question:
        """The question in a conversation: the last message; what comes before it is the context.

        Raises:
            InvalidInput: If there is no context.
        """
        *before, last = messages
        if last.role != "user" or not before:
            raise InvalidInput(
                "this model answers questions from a context: send the context as a system message "
                "and the question as the last user message."
            )
        return Question(last.content, "\n".join(message.content for message in before))

    def question_request(self, question: Question, sampling: Sampling) -> GenerationRequest:
        """A question as this model is asked it."""
        pieces = [self.shield(piece) for piece in self.prompt.fixed_pieces()]
        first, second = (getattr(question, name) for name in self.prompt.placeholders())
        text = f"{pieces[0]}{first}{pieces[1]}{second}{pieces[2]}"
        return GenerationRequest((Message("user", text),), sampling=sampling)

    def chat_request(self, messages: Sequence[Message], sampling: Sampling) -> GenerationRequest:
        """A conversation as this model is asked it. Raises InvalidInput."""
        if self.has_chat:
            return GenerationRequest(tuple(messages), sampling=sampling)
        return self.question_request(self.find_question(messages), sampling)

    def own(self, sampling: Sampling, theirs: Sampling) -> Sampling:
        """Sampling chosen over another model's defaults, with this model's own penalty where none was asked for."""
        if sampling.repetition_penalty != theirs.repetition_penalty:
            return sampling
        return replace(sampling, repetition_penalty=self.defaults.repetition_penalty)


def open_asking(
    settings: Settings, prompt: Prompt, shield: Callable[[str], str], judged_penalty: float | None
) -> Asking:
    """Args: what a model brings, its repetition penalty only where it was judged with one."""
    penalty = settings.repetition_penalty
    if judged_penalty is not None and "repetition_penalty" not in settings.model_fields_set:
        penalty = judged_penalty
    defaults = Sampling(
        max_new_tokens=settings.max_new_tokens,
        do_sample=settings.do_sample,
        temperature=settings.temperature,
        top_p=settings.top_p,
        repetition_penalty=penalty,
    )
    return Asking(prompt, prompt.chat_template, shield, defaults)
