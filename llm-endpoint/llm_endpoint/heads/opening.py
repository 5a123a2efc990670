"""What answers for a model folder with a head, made once at start."""

from llm_endpoint.engines.heads.opening import open_runtime
from llm_endpoint.engines.heads.seam import Runtime
from llm_endpoint.engines.seam import EngineInfo
from llm_endpoint.heads.batching import HeadEngine
from llm_endpoint.heads.encoding import InputEncoder
from llm_endpoint.heads.head import Head
from llm_endpoint.heads.predicting import Predicting
from llm_endpoint.metrics import Metrics
from llm_endpoint.served.folder import ServedModel
from llm_endpoint.settings import Settings
from llm_endpoint.telemetry.telemetry import Telemetry


def open_predicting(
    settings: Settings, served: ServedModel, head: Head, telemetry: Telemetry, metrics: Metrics
) -> Predicting:
    """Not started: its `start` loads the model.

    Raises:
        ModelError: If the tokenizer of the folder cannot be used.
    """

    def describe(runtime: Runtime) -> EngineInfo:
        facts = (runtime.name, served.name, served.revision, head.max_seq_length, runtime.precision)
        return EngineInfo(*facts, content_sha256=served.content_sha256)

    engine = HeadEngine(
        lambda: open_runtime(settings, served, head),
        describe,
        head.pad_token_id,
        settings.max_batch_tokens,
        settings.max_running + settings.max_queue,
        metrics.batch_rows.observe,
    )
    encoder = InputEncoder(served.folder, head)
    return Predicting(engine, encoder, head, settings.request_timeout_seconds, telemetry, metrics)
