"""`python -m llm_endpoint [--model FOLDER_OR_ID] [--port N]`: serve a model."""

import argparse
import gc
import logging
import sys

from llm_endpoint.errors import EndpointError
from llm_endpoint.settings import load_settings


def main() -> int:
    """Serve until stopped; 2 with one line for what the user can fix."""
    parser = argparse.ArgumentParser(prog="llm_endpoint", description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", help="model folder or Hub id (MODEL)")
    parser.add_argument("--model-name", help="name in the KServe and OpenAI paths (SERVED_MODEL_NAME)")
    parser.add_argument("--host", help="address to listen on (HOST)")
    parser.add_argument("--port", type=int, help="port to listen on (HTTP_PORT)")
    engines = ["auto", "openvino", "transformers", "openai", "onnxruntime"]
    parser.add_argument("--engine", choices=engines, help="ENGINE")
    given = parser.parse_args()
    gc.disable()  # `serve` takes it back: imports only make what stays, and looking for garbage in it costs a fifth
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        settings = load_settings(
            model=given.model,
            served_model_name=given.model_name,
            host=given.host,
            http_port=given.port,
            engine=given.engine,
        )
        from llm_endpoint.telemetry.ambient import disable_ambient_tracing

        disable_ambient_tracing()
        from llm_endpoint.engines.opening import open_ahead

        open_core = open_ahead(settings)
        from llm_endpoint.server import serve

        return serve(settings, open_core)
    except EndpointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
