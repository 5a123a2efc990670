"""The policies that Kubeflow itself puts before every workload, as facts of 26.03 written down here for tests.

They matter because ALLOW policies add up: what these let in, a narrow ALLOW of ours does not keep out.
"""

from support.istio_to_envoy import ROOT_NAMESPACE, Document

GATEWAY = ("istio-system", "istio-ingressgateway-service-account")
PIPELINE_PAGE = ("kubeflow", "ml-pipeline-ui")
NOTEBOOK_CULLING = ("kubeflow", "notebook-controller-service-account")
OWNER = "user@example.com"


def kubeflow_policies(namespace: str) -> list[Document]:
    """`global-deny-all` of the mesh and `ns-owner-access-istio` of a Profile."""
    return [
        policy("global-deny-all", ROOT_NAMESPACE, {}),
        policy(
            "ns-owner-access-istio",
            namespace,
            {
                "rules": [
                    {
                        "from": [{"source": {"principals": [principal(*GATEWAY), principal(*PIPELINE_PAGE)]}}],
                        "when": [{"key": "request.headers[kubeflow-userid]", "values": [OWNER]}],
                    },
                    {"when": [{"key": "source.namespace", "values": [namespace]}]},
                    {"to": [{"operation": {"paths": ["/healthz", "/metrics", "/wait-for-drain"]}}]},
                    {
                        "from": [{"source": {"principals": [principal(*NOTEBOOK_CULLING)]}}],
                        "to": [{"operation": {"methods": ["GET"], "paths": ["*/api/kernels"]}}],
                    },
                ]
            },
        ),
    ]


def principal(namespace: str, service_account: str) -> str:
    """How a policy names an identity."""
    return f"cluster.local/ns/{namespace}/sa/{service_account}"


def policy(name: str, namespace: str, spec: Document) -> Document:
    """An AuthorizationPolicy."""
    return {"kind": "AuthorizationPolicy", "metadata": {"name": name, "namespace": namespace}, "spec": spec}
