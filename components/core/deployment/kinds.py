"""The kinds of Kubernetes objects that are read or applied, and where the API server keeps them."""

from typing import NamedTuple

from components.core.errors import ConfigError


class Kind(NamedTuple):
    """Where the objects of a kind live."""

    api_version: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """API group; empty for the core."""
        group, _, version = self.api_version.rpartition("/")
        return group if version else ""

    @property
    def resource(self) -> str:
        """Name as a custom resource definition has it, such as `inferenceservices.serving.kserve.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Path on the API server; all namespaces without a namespace, the whole list without a name."""
        parts = ["/apis" if "/" in self.api_version else "/api", self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        return "/".join([*parts, self.plural, *([name] if name else [])])


KINDS = {
    "Namespace": Kind("v1", "namespaces", namespaced=False),
    "Node": Kind("v1", "nodes", namespaced=False),
    "Pod": Kind("v1", "pods"),
    "Event": Kind("v1", "events"),
    "Secret": Kind("v1", "secrets"),
    "ConfigMap": Kind("v1", "configmaps"),
    "Service": Kind("v1", "services"),
    "ServiceAccount": Kind("v1", "serviceaccounts"),
    "PersistentVolumeClaim": Kind("v1", "persistentvolumeclaims"),
    "ResourceQuota": Kind("v1", "resourcequotas"),
    "LimitRange": Kind("v1", "limitranges"),
    "Deployment": Kind("apps/v1", "deployments"),
    "ReplicaSet": Kind("apps/v1", "replicasets"),
    "HorizontalPodAutoscaler": Kind("autoscaling/v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": Kind("policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": Kind("networking.k8s.io/v1", "networkpolicies"),
    "Ingress": Kind("networking.k8s.io/v1", "ingresses"),
    "Role": Kind("rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": Kind("rbac.authorization.k8s.io/v1", "rolebindings"),
    "StorageClass": Kind("storage.k8s.io/v1", "storageclasses", namespaced=False),
    "CustomResourceDefinition": Kind("apiextensions.k8s.io/v1", "customresourcedefinitions", namespaced=False),
    "InferenceService": Kind("serving.kserve.io/v1beta1", "inferenceservices"),
    "KnativeService": Kind("serving.knative.dev/v1", "services"),
    "ServingRuntime": Kind("serving.kserve.io/v1alpha1", "servingruntimes"),
    "ClusterServingRuntime": Kind("serving.kserve.io/v1alpha1", "clusterservingruntimes", namespaced=False),
    "AuthorizationPolicy": Kind("security.istio.io/v1", "authorizationpolicies"),
    "PeerAuthentication": Kind("security.istio.io/v1", "peerauthentications"),
    "RequestAuthentication": Kind("security.istio.io/v1", "requestauthentications"),
    "VirtualService": Kind("networking.istio.io/v1", "virtualservices"),
    "DestinationRule": Kind("networking.istio.io/v1", "destinationrules"),
    "Sidecar": Kind("networking.istio.io/v1", "sidecars"),
    "HTTPRoute": Kind("gateway.networking.k8s.io/v1", "httproutes"),
    "PodMonitor": Kind("monitoring.coreos.com/v1", "podmonitors"),
    "PrometheusRule": Kind("monitoring.coreos.com/v1", "prometheusrules"),
    "ScaledObject": Kind("keda.sh/v1alpha1", "scaledobjects"),
    "PodDefault": Kind("kubeflow.org/v1alpha1", "poddefaults"),
    "TrainJob": Kind("trainer.kubeflow.org/v1alpha1", "trainjobs"),
    "ClusterTrainingRuntime": Kind("trainer.kubeflow.org/v1alpha1", "clustertrainingruntimes", namespaced=False),
}


def find_kind(name: str, api_version: str | None = None) -> Kind:
    """The kind of this name; a document's own API version wins over ours.

    Raises:
        ConfigError: If the kind is not one that is known here.
    """
    known = KINDS.get(name)
    if known is None:
        raise ConfigError(f"objects of kind {name} are not known here. Apply them with kubectl.")
    return known._replace(api_version=api_version) if api_version else known
