"""The registry room: model folders, the Hub or the local registry, MLflow tracking, champions and lineage."""

from components.core.registry.champion import champion_folder, lineage
from components.core.registry.head_facts import head_name
from components.core.registry.listing import access_of_source, change_access, list_models
from components.core.registry.names import registered_name, tuned_name
from components.core.registry.promotion import Moved, promote, rollback
from components.core.registry.publishing import Published, publish, publish_head
from components.core.registry.registered_base import RegisteredBase, find_registered, served_model
from components.core.registry.tracking import Registered, register, register_head

__all__ = [
    "Moved",
    "Published",
    "Registered",
    "RegisteredBase",
    "access_of_source",
    "champion_folder",
    "change_access",
    "find_registered",
    "head_name",
    "lineage",
    "list_models",
    "promote",
    "publish",
    "publish_head",
    "register",
    "register_head",
    "registered_name",
    "rollback",
    "served_model",
    "tuned_name",
]
