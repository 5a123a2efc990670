"""What the pods of a run ask for: size, GPUs, secrets, volumes, tries."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kfp import kubernetes

from components.core.errors import ConfigError
from components.core.image_names import PIPELINE, image_name
from components.core.recipe import GpuConfig, ResourcesConfig
from components.core.settings import HUB_SECRET, SERVICE_LLM_SECRET, SERVICE_LLM_VARIABLES, TrainingNodes

CHECKPOINT_MOUNT = "/checkpoints"
"""Where the checkpoint volume is mounted."""


@dataclass(frozen=True)
class Pods:
    """Sizes of the pods of one run.

    `environment` is set in every pod and written into the pipeline, so it never holds a secret.
    """

    gpu: GpuConfig
    resources: ResourcesConfig
    environment: Mapping[str, str] = field(default_factory=dict)

    def small(self, task: Any) -> Any:
        """A CPU pod of fixed size."""
        task.set_cpu_request("1").set_memory_request("2Gi").set_memory_limit("4Gi")
        return self._with_environment(task)

    def large(self, task: Any, gpus: int = 1) -> Any:
        """A pod of the recipe's size with so many GPUs, unless it is a CPU run; tried again when its node goes away."""
        memory = self.resources.memory
        task.set_cpu_request(self.resources.cpu).set_memory_request(memory).set_memory_limit(memory)
        if self.gpu.count:
            task.set_accelerator_type(self.gpu.resource).set_accelerator_limit(gpus)
            task.set_container_image(self._gpu_image(task))
            kubernetes.add_toleration(task, key=self.gpu.resource, operator="Exists", effect="NoSchedule")
            if self.gpu.product:
                kubernetes.add_node_selector(task, "nvidia.com/gpu.product", self.gpu.product)
            kubernetes.empty_dir_mount(task, "dshm", "/dev/shm", medium="Memory", size_limit=self.gpu.shm_size)
        return self._with_environment(self._tried_again(task))

    def tuning(self, task: Any) -> Any:
        """The pod that fine-tunes; with several nodes a small one, which has a TrainJob do it.

        Raises:
            ConfigError: If there are several nodes, and no volume that they could share.
        """
        if self.gpu.num_nodes == 1:
            return self.with_checkpoints(self.large(task, self.gpu.count))
        if not self.resources.checkpoint_volume:
            raise ConfigError(
                f"gpu.num_nodes={self.gpu.num_nodes} needs a cluster and a volume that its nodes share: give "
                "--host and resources.checkpoint_volume, or set gpu.num_nodes=1."
            )
        nodes = TrainingNodes(
            image=self._gpu_image(task), gpu=self.gpu, resources=self.resources, environment=dict(self.environment)
        )
        # a variable, not a parameter: where a model is trained does not change it, so neither the cache key
        task.set_env_variable("TRAINING_NODES", nodes.model_dump_json())
        return self.with_checkpoints(self._tried_again(self.small(task)))

    def with_checkpoints(self, task: Any) -> Any:
        """Mount the checkpoint volume, where the recipe names one."""
        if self.resources.checkpoint_volume:
            kubernetes.mount_pvc(task, self.resources.checkpoint_volume, CHECKPOINT_MOUNT)
            task.set_env_variable("CHECKPOINT_DIR", CHECKPOINT_MOUNT)
        return task

    def asking(self, task: Any) -> Any:
        """A small pod that asks a service LLM: with its keys, and its journal on the checkpoint volume."""
        names = {name.lower(): name for name in SERVICE_LLM_VARIABLES}
        task = kubernetes.use_secret_as_env(
            self._tried_again(self.small(task)), SERVICE_LLM_SECRET, names, optional=True
        )
        return self.with_home(task)

    def with_home(self, task: Any) -> Any:
        """Keep on the checkpoint volume, where the recipe names one, what a tried-again step goes on from."""
        if self.resources.checkpoint_volume:
            task.set_env_variable("WHETSTONE_HOME", f"{CHECKPOINT_MOUNT}/home")
        return self.with_checkpoints(task)

    def _gpu_image(self, task: Any) -> str:
        """The image of a pod with GPUs: torch of the usual one has no CUDA. PIPELINE_IMAGE is for all steps alike."""
        if os.environ.get("PIPELINE_IMAGE") or not self.gpu.count or not self.gpu.resource.startswith("nvidia.com/"):
            return str(task.container_spec.image)
        return image_name(PIPELINE, "cuda")

    def _tried_again(self, task: Any) -> Any:
        if self.resources.retries:
            task.set_retry(self.resources.retries, backoff_duration="30s", backoff_factor=2.0)
        return task

    def _with_environment(self, task: Any) -> Any:
        for name, value in self.environment.items():
            task.set_env_variable(name, value)
        # Optional: a public model needs no token, and without the secret the model goes to the local registry.
        return kubernetes.use_secret_as_env(task, HUB_SECRET, {"token": "HF_TOKEN", "repo": "HF_REPO"}, optional=True)
