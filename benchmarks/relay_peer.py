"""The peer: the usual FastAPI and LangChain relay of an OpenAI-compatible server, written as its documentation shows.

    python -m benchmarks.relay_peer --port N --upstream URL

With LANGSMITH_TRACING in the environment LangChain's own tracer sends every run to LangSmith.
"""

import argparse
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from benchmarks.peer_server import peer_app, serve


class Question(BaseModel):
    """The body."""

    question: str
    context: str
    stream: bool = True


def build_app(upstream: str) -> FastAPI:
    """One route."""
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_openai import ChatOpenAI

    from benchmarks.fixed_answer import SYSTEM

    prompt = ChatPromptTemplate.from_messages(
        [("system", SYSTEM), ("user", "Context: {context}\n\nQuestion: {question}")]
    )
    llm: Any = ChatOpenAI(base_url=upstream, api_key="none", model="stub", streaming=True, temperature=0)  # type: ignore[arg-type]
    chain = prompt | llm | StrOutputParser()
    app = peer_app()

    @app.post("/generate")
    async def generate(body: Question) -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            async for chunk in chain.astream({"context": body.context, "question": body.question}):
                if chunk:
                    yield f"data: {json.dumps({'delta': chunk})}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    return app


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    given = parser.parse_args()
    serve(build_app(given.upstream), given.port)


if __name__ == "__main__":
    main()
