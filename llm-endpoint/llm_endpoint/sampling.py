"""What a request asks of the sampling, over the defaults of the server."""

from dataclasses import replace
from typing import Any

from llm_endpoint.engines.seam import Sampling

_COLDEST = 0.01


def choose_sampling(defaults: Sampling, **asked: Any) -> Sampling:
    """The defaults with what a request asks for; a temperature of 0 is greedy, above 0 it samples."""
    given = {name: value for name, value in asked.items() if value is not None}
    temperature = given.get("temperature")
    if temperature is not None:
        given.setdefault("do_sample", temperature > 0)
        if temperature == 0:
            del given["temperature"]
        else:
            # below, the division overflows and nothing but the most likely token is drawn anyway
            given["temperature"] = max(temperature, _COLDEST)
    return replace(defaults, **given)
