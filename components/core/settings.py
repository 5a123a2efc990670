"""Where things run, and secrets: read from the environment, built in `main()` or in a step, never at import."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from components.core.errors import ConfigError
from components.core.recipe import GpuConfig, ResourcesConfig

HUB_SECRET = "huggingface-secret"
"""Secret of the cluster with the Hub token and repository (keys `token`, `repo`)."""
SERVICE_LLM_SECRET = "service-llm-secret"
"""Secret of the cluster with the API keys of service LLMs; its keys are those variables in small letters."""
SERVICE_LLM_VARIABLES = ("GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY")
"""Environment variables with an API key of a service LLM."""
DEFAULT_NAMESPACE = "kubeflow-user-example-com"
"""Where runs, endpoint and page are, unless the environment says otherwise."""
STARTER_DIR = Path(__file__).resolve().parents[1] / "starter"
"""The embedded base model (`model/`) and its question set (`data/`)."""


class TrainingNodes(BaseModel):
    """What the pods of a TrainJob ask for; set when the pipeline is compiled (TRAINING_NODES, as JSON)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    """The image of all steps."""
    gpu: GpuConfig
    resources: ResourcesConfig
    environment: dict[str, str] = {}
    """Addresses that every pod of the run gets; never a secret."""


class Settings(BaseSettings):
    """Addresses, folders and secrets. Every outside service has an address here, so that tests can stand in for it."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    hf_token: SecretStr | None = None
    """Access token of the Hugging Face Hub (HF_TOKEN)."""
    hf_repo: str | None = None
    """Hub repository `user/name` that the tuned model is uploaded to (HF_REPO); none keeps it in the local registry."""
    hf_endpoint: str = "https://huggingface.co"
    """Address of the Hub (HF_ENDPOINT)."""
    mlflow_tracking_uri: str | None = None
    """MLflow server (MLFLOW_TRACKING_URI); none uses a SQLite file under `whetstone_home`."""
    whetstone_home: Path = Path(".whetstone")
    """Local runs, registry, caches and the MLflow file (WHETSTONE_HOME)."""
    checkpoint_dir: Path | None = None
    """Where checkpoints survive a killed run (CHECKPOINT_DIR); none uses `whetstone_home`/checkpoints."""
    kfp_token: SecretStr | None = None
    """Bearer token of Kubeflow Pipelines (KFP_TOKEN), where it asks for one."""
    kfp_token_file: Path | None = None
    """File with that token (KFP_TOKEN_FILE), read again for every request, so that a renewed token is used."""
    kfp_cookies: SecretStr | None = None
    """Cookies of a browser session with Kubeflow, `name=value; name=value` (KFP_COOKIES), instead of a token."""
    kfp_cookies_file: Path | None = None
    """File with those cookies (KFP_COOKIES_FILE), read again for every request."""
    kf_pipelines_sa_token_path: Path = Path("/var/run/secrets/kubeflow/pipelines/token")
    """Token that the cluster puts into a pod (KF_PIPELINES_SA_TOKEN_PATH); used when nothing above is set."""
    kfp_ca_file: Path | None = None
    """Certificates (PEM) that Kubeflow's own is checked against (KFP_CA_FILE); none takes the public ones."""
    kfp_namespace: str | None = None
    """Namespace that we work for (KFP_NAMESPACE); none takes that of the pod around us, or the default."""
    pod_namespace_file: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
    """File with the namespace of the pod around us (POD_NAMESPACE_FILE); a cluster writes it."""
    training_processes: int | None = Field(default=None, ge=1)
    """Processes that train on one machine (TRAINING_PROCESSES); none takes one per GPU, or one on a CPU."""
    training_nodes: TrainingNodes | None = None
    """The nodes of a TrainJob (TRAINING_NODES, JSON); none trains in this pod. Set when a pipeline is compiled."""
    gemini_api_key: SecretStr | None = None
    """API key of Gemini (GEMINI_API_KEY), where it is the service LLM."""
    google_api_key: SecretStr | None = None
    """The same (GOOGLE_API_KEY), as Google's own libraries name it."""
    openai_api_key: SecretStr | None = None
    """API key of OpenAI, or of a server that speaks its protocol (OPENAI_API_KEY)."""
    anthropic_api_key: SecretStr | None = None
    """API key of Anthropic (ANTHROPIC_API_KEY)."""
    git_commit: str = Field(default="unknown")
    """Commit of the code (GIT_COMMIT), recorded with the model."""

    @field_validator("hf_repo")
    @classmethod
    def _has_owner_and_name(cls, repo: str | None) -> str | None:
        if repo is not None and (repo.count("/") != 1 or not all(repo.split("/"))):
            raise ValueError("must look like <user>/<repo>")
        return repo

    @property
    def namespace(self) -> str:
        """The namespace that we work for: restricted models of another one are not for us."""
        if self.kfp_namespace:
            return self.kfp_namespace
        try:
            return self.pod_namespace_file.read_text(encoding="utf-8").strip() or DEFAULT_NAMESPACE
        except OSError:
            return DEFAULT_NAMESPACE

    @property
    def checkpoints(self) -> Path:
        """Folder of all checkpoints."""
        return (self.checkpoint_dir or self.whetstone_home / "checkpoints").resolve()

    @property
    def cache(self) -> Path:
        """Folder of content-addressed caches (tokens, champion predictions)."""
        return (self.whetstone_home / "cache").resolve()

    @property
    def local_registry(self) -> Path:
        """Folder that stands in for the Hub: `<name>/<version>/` model folders."""
        return (self.whetstone_home / "registry").resolve()

    @property
    def tracking_uri(self) -> str:
        """MLflow tracking and registry address."""
        return self.mlflow_tracking_uri or f"sqlite:///{(self.whetstone_home / 'mlflow.db').resolve()}"

    def pod_environment(self) -> dict[str, str]:
        """Addresses that the pods of a run need too; written into the pipeline, so never a secret.

        Raises:
            ConfigError: If an address carries a password.
        """
        addresses = {"HF_ENDPOINT": self.hf_endpoint, "MLFLOW_TRACKING_URI": self.mlflow_tracking_uri}
        for name, address in addresses.items():
            if address and "@" in urlsplit(address).netloc:
                raise ConfigError(f"{name} carries a password, which must not stand in a pipeline. Leave it out.")
        given = self.model_fields_set
        return {name: address for name, address in addresses.items() if address and name.lower() in given}


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        ConfigError: If a variable has an impossible value; the message names it and never shows a secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"{str(p['loc'][0]).upper()} {p['msg'].removeprefix('Value error, ')}" for p in error.errors()
        )
        raise ConfigError(f"environment: {problems}. Set it right or unset it.") from error
