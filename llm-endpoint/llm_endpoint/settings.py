"""Where the endpoint runs and its secrets: read from the environment, built in `main()`, never at import."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from llm_endpoint.errors import SettingsError

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


def _either(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class Settings(BaseSettings):
    """Each field is an environment variable of the same name in capitals; aliases are named in the docstring."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True)

    model: str = "/mnt/models"
    """What is served: a model folder (KServe mounts one at /mnt/models), or a Hub id, also as user/name@revision."""
    model_revision: str | None = None
    """Branch, tag or commit of a Hub id."""
    served_model_name: str = "llm-api"
    """Name in the KServe and OpenAI paths."""
    host: str = "0.0.0.0"  # noqa: S104 - a pod is reached from outside
    """Address to listen on."""
    http_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Port to listen on."""

    engine: Literal["auto", "openvino", "transformers", "openai", "onnxruntime"] = "auto"
    """`auto`: `openai` when OPENAI_BASE_URL is set, else OpenVINO, else transformers for what does not convert; a model
    with a head: ONNX Runtime where its folder holds model.onnx, else transformers."""
    weights: Literal["fp32", "int8"] = "fp32"
    """Precision of the weights on a CPU; int8 is served only where the model's evaluation gate passed it."""
    whetstone_home: Path = Path(".whetstone")
    """Caches and local traces."""
    threads: Count | None = None
    """CPU threads of the engine; none takes the cores that this process may use."""
    max_running: Count = 16
    """Requests that are generated at once."""
    max_queue: Annotated[int, Field(ge=0)] = 256
    """Requests that may wait; more get 429 with Retry-After."""
    max_batch_tokens: Count = 2048
    """Tokens, padding included, that go through a model with a head at once."""
    kv_cache_gb: Annotated[float, Field(gt=0)] = 1.0
    """GiB of keys and values that the CPU engine holds, reused prefixes included."""
    openai_base_url: str | None = None
    """An OpenAI-compatible server (vLLM, or hosted), such as http://vllm/v1."""
    openai_api_key: SecretStr | None = None
    """Its key."""
    openai_model: str | None = None
    """Its model name; none asks its /models."""

    stand_in: Literal["local", "service"] | None = None
    """Who takes over from whom: `local`, the service of OPENAI_BASE_URL answers and MODEL stands in for it (only a
    model that passed its gate); `service`, the other way round. Empty: one of them answers alone."""
    always_local: bool = False
    """Only the local model answers, whatever else is set: nothing goes to the service (cost, privacy)."""
    first_token_seconds: Seconds = 2.0
    """The stand-in starts, too, when the primary has said nothing for so long; whoever is first answers."""
    stall_seconds: Seconds = 5.0
    """A primary that falls silent for so long in the middle of an answer has broken off."""
    breaker_failures: Count = 2
    """Failures in a row after which the primary is left alone."""
    breaker_seconds: Seconds = 10.0
    """For so long; doubles up to three times that while it stays away."""
    shadow_sample: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the prompts answered by the service that the local model answers, too, in the background."""
    shadow_consent: bool = False
    """The callers' prompts and answers may be kept for that (redacted); SHADOW_SAMPLE needs it."""
    shadow_dataset: str = "shadow"
    """Data set of these rows, under WHETSTONE_HOME/datasets."""
    shadow_queue: Count = 32
    """Prompts that may wait for the local model to be idle; more are dropped and counted."""
    shadow_max_bytes: Count = 64 * 2**20
    """Size of the file at which no more rows are taken."""

    adapters: str = ""
    """LoRA adapters on the model, each served under a name of its own: `name=folder,name=folder`."""
    adapters_root: Path | None = None
    """Folder under which adapters may be loaded over HTTP; none switches that off. It needs an API key."""
    max_lora_rank: Count = 64
    """Largest rank of an adapter."""
    max_adapters: Count = 32
    """Adapters that are loaded at once."""

    max_new_tokens: Count = 512
    """Longest answer in tokens, unless the request says less or more."""
    do_sample: bool = False
    """Draw tokens instead of taking the most likely one."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.03
    """Unless it is set, a model that was judged with another one keeps its own."""
    max_body_bytes: Count = 2 * 2**20
    """Largest request body."""
    request_timeout_seconds: Seconds = 120.0
    """Longest time from the request's arrival to its last token."""
    shutdown_seconds: Seconds = 30.0
    """Time that running requests get after SIGTERM."""

    api_keys_dir: Path | None = None
    """Folder with the files `primary` and `secondary` (a mounted secret); changes are seen without a restart."""
    api_key_primary: SecretStr | None = None
    """Key of the callers, where there is no folder."""
    api_key_secondary: SecretStr | None = None
    """Second key, valid beside the first so that keys can be rotated."""

    tracing: Annotated[bool, Field(validation_alias=_either("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"))] = False
    """LANGSMITH_TRACING or LANGCHAIN_TRACING_V2: one run tree per request goes to LangSmith."""
    langsmith_endpoint: Annotated[str, Field(validation_alias=_either("LANGSMITH_ENDPOINT", "LANGCHAIN_ENDPOINT"))] = (
        "https://api.smith.langchain.com"
    )
    """LANGSMITH_ENDPOINT or LANGCHAIN_ENDPOINT."""
    langsmith_api_key: Annotated[
        SecretStr | None, Field(validation_alias=_either("LANGSMITH_API_KEY", "LANGCHAIN_API_KEY"))
    ] = None
    """LANGSMITH_API_KEY or LANGCHAIN_API_KEY."""
    langsmith_project: Annotated[str, Field(validation_alias=_either("LANGSMITH_PROJECT", "LANGCHAIN_PROJECT"))] = (
        "default"
    )
    """LANGSMITH_PROJECT or LANGCHAIN_PROJECT."""
    trace_to_mlflow: bool = False
    """Traces go to MLflow instead (MLFLOW_TRACKING_URI, or the SQLite file under WHETSTONE_HOME)."""
    mlflow_tracking_uri: str | None = None
    trace_content: bool = True
    """False leaves prompts, contexts and answers out of traces; sizes and timings stay."""
    trace_redaction: bool = True
    """E-mail addresses, keys and card numbers are replaced in traces."""
    trace_queue: Count = 2048
    """Traces held in memory while they wait to be sent; more are dropped and counted."""
    trace_queue_bytes: Count = 32 * 2**20
    """Bytes held in memory while they wait; more are dropped and counted."""
    flush_seconds: Seconds = 3.0
    """Time that waiting traces get at shutdown."""
    feedback_file: Path | None = None
    """JSON Lines file of consented feedback; none uses WHETSTONE_HOME/feedback.jsonl."""

    pod_namespace: str | None = None
    """Namespace of the pod (POD_NAMESPACE, by the downward API); none reads `pod_namespace_file`."""
    pod_namespace_file: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
    """File with the pod's namespace; a cluster writes it where a service account's token is mounted."""
    kfp_namespace: str = "kubeflow-user-example-com"
    """Namespace that a machine outside of a cluster works for (KFP_NAMESPACE), as for the pipeline's commands."""

    hf_token: SecretStr | None = None
    """Hub token (HF_TOKEN)."""
    hf_endpoint: str = "https://huggingface.co"
    """Address of the Hub."""

    @property
    def wants_adapters(self) -> bool:
        """Whether adapters are served, now or later."""
        return bool(self.adapters.strip()) or self.adapters_root is not None

    @property
    def shadow_file(self) -> Path:
        """Where the shadow's rows go: the split `batch_infer` of its data set."""
        return self.whetstone_home / "datasets" / self.shadow_dataset / "batch_infer.jsonl"

    @property
    def engine_cache(self) -> Path:
        """Folder of converted models, by fingerprint."""
        return (self.whetstone_home / "cache" / "engines").resolve()


def load_settings(**overrides: object) -> Settings:
    """Read the environment; overrides that are None are ignored.

    Raises:
        SettingsError: Naming each variable with an impossible value, never its content.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(f"{str(p['loc'][0]).upper()}: {p['msg']}" for p in error.errors(include_input=False))
        raise SettingsError(f"environment: {problems}. Set it right or unset it.") from error
