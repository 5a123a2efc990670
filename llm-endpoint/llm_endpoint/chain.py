"""The LangChain chain: prompt | llm | StrOutputParser."""

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import Generation
from langchain_core.prompts import ChatPromptTemplate, HumanMessagePromptTemplate, PromptTemplate
from langchain_core.runnables import Runnable

from llm_endpoint.served.prompt import Prompt


class InlineStrOutputParser(StrOutputParser):
    """StrOutputParser without a thread hop."""

    async def aparse_result(self, result: list[Generation], *, partial: bool = False) -> str:
        """The text of the answer."""
        return self.parse_result(result, partial=partial)


def build_prompt_template(prompt: Prompt, shield: Any) -> ChatPromptTemplate:
    """The prompt of the model folder as one user message.

    Args:
        prompt: Its template's own text becomes literal; context and question are put in as they are.
        shield: Marks the template's control tokens, so that the encoder tells them from the same text in a context.
    """
    names, pieces = prompt.placeholders(), [_literal(shield(piece)) for piece in prompt.fixed_pieces()]
    template = f"{pieces[0]}{{{names[0]}}}{pieces[1]}{{{names[1]}}}{pieces[2]}"
    message = HumanMessagePromptTemplate(
        prompt=PromptTemplate(template=template, input_variables=["context", "question"])
    )
    return ChatPromptTemplate.from_messages([message])


def build_chain(prompt: ChatPromptTemplate, llm: BaseChatModel) -> Runnable[dict[str, str], str]:
    """Prompt | llm | StrOutputParser."""
    return prompt | llm | InlineStrOutputParser()


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
