"""A local model as the service LLM: our own endpoint, with the starter behind it, asked by the real OpenAI client."""

import asyncio
import json

import pytest
from support.endpoint_server import EndpointServer

from components.core.errors import ServiceLLMError
from components.core.judging import JudgeConfig, judge
from components.core.service_llm import ServiceLLMConfig, open_service_llm
from components.core.settings import Settings

pytestmark = pytest.mark.e2e

QUESTION = [("system", "The red box is in the kitchen."), ("user", "Where is the red box?")]


def test_our_own_endpoint_answers_and_a_model_that_cannot_judge_is_told_so(tmp_path):
    texts = [(f"question {number}", f"target {number}", "x") for number in range(12)]
    columns = ("instructions", "target_responses", "candidate_responses")
    rows = [dict(zip(columns, each, strict=True)) for each in texts]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = Settings(whetstone_home=tmp_path / "home", openai_api_key=None)
    with EndpointServer(tmp_path) as server:
        address = f"{server.url}/openai/v1"
        judging = {"provider": "openai", "base_url": address, "max_tokens": 8, "rate_limit_per_minute": 6000}
        name = served_name(server)

        async def ask():
            async with open_service_llm(ServiceLLMConfig(model=name, **judging), settings) as llm:
                return await llm.ask(QUESTION), llm.usage

        reply, usage = asyncio.run(ask())
        assert reply.text.strip()
        assert 0 < reply.output_tokens <= 8
        assert (usage.calls, usage.failed_calls) == (1, 0)
        # the starter answers questions about a context; JSON with two scores is beyond it
        with pytest.raises(ServiceLLMError, match="none of the first .* answers could be judged"):
            judge(JudgeConfig(model=name, lm_response_ds_id=str(file), **judging), settings)


def served_name(server: EndpointServer) -> str:
    import httpx

    return str(httpx.get(f"{server.url}/openai/v1/models").json()["data"][0]["id"])
