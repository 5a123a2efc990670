"""What nothing in a cluster refuses and goes wrong later, found in rendered manifests before anything is applied."""

from collections.abc import Sequence

from components.core.deployment.manifest_check.authorization import check_authorization
from components.core.deployment.manifest_check.containers import check_containers
from components.core.deployment.manifest_check.finding import Document, Finding
from components.core.deployment.manifest_check.knative import check_knative
from components.core.deployment.manifest_check.literal_secrets import check_literal_secrets
from components.core.deployment.manifest_check.names import check_names
from components.core.deployment.manifest_check.references import EXTERNAL, External, check_references
from components.core.deployment.manifest_check.selectors import check_budgets, check_selectors, check_services
from components.core.deployment.manifest_check.serving import (
    check_modes,
    check_predictors,
    check_scaling,
    check_storage,
)
from components.core.errors import ConfigError

__all__ = ["EXTERNAL", "Document", "External", "Finding", "check_documents"]

_RULES = (
    check_names,
    check_modes,
    check_predictors,
    check_storage,
    check_scaling,
    check_knative,
    check_containers,
    check_literal_secrets,
    check_selectors,
    check_services,
    check_budgets,
    check_authorization,
)


def check_documents(documents: Sequence[Document], external: External = EXTERNAL) -> list[Finding]:
    """Hold the rendered documents of one part against all rules.

    Args:
        documents: What kustomize renders.
        external: Kind to the names that documents may refer to without bringing them.

    Raises:
        ConfigError: If a document lacks a field without which its kind makes no sense.
    """
    try:
        findings = [finding for rule in _RULES for finding in rule(documents)]
        return findings + list(check_references(documents, external))
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(
            f"a document does not have the shape of its kind ({error!r}). Look with: kubectl apply --dry-run=server"
        ) from error
