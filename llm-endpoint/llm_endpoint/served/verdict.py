"""Whether a model may stand in for a service: only one that its evaluation gate found better than its base."""

from llm_endpoint.errors import ModelError
from llm_endpoint.served.folder import MODEL_INFO_FILE, ServedModel


def check_may_stand_in(served: ServedModel) -> None:
    """Make sure that the gate has passed a model.

    Raises:
        ModelError: With what the verdict says, and what to do.
    """
    if served.head is not None:
        raise ModelError(f"STAND_IN is set, but {served.name} has a head and writes no text. Name another MODEL.")
    remedy = "Serve one that passed its gate (`python -m llm-pipelines.registry list`), or unset STAND_IN."
    verdict = served.info.get("verdict")
    if not isinstance(verdict, dict):
        said = f"{MODEL_INFO_FILE} holds no verdict" if served.info else "nobody has judged it here"
        raise ModelError(f"STAND_IN=local, but {served.name} may not stand in: {said}. {remedy}")
    if verdict.get("status") != "passed":
        said = str(verdict.get("headline") or "its gate refused it")
        raise ModelError(f"STAND_IN=local, but {served.name} may not stand in. {said}. {remedy}")
    if verdict.get("outcome") != "better":
        raise ModelError(
            f"STAND_IN=local, but {served.name} may not stand in: its gate was off, so it passed unjudged. {remedy}"
        )
