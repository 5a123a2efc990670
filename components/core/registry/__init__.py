"""The registry room: model folders, the Hub or the local registry, MLflow tracking, champions and lineage."""

from components.core.registry.champion import champion_folder, lineage
from components.core.registry.names import registered_name
from components.core.registry.publishing import Published, publish
from components.core.registry.tracking import Registered, register

__all__ = ["Published", "Registered", "champion_folder", "lineage", "publish", "register", "registered_name"]
