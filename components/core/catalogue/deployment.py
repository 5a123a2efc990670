"""Parameters of register_<task> and deploy_<task>."""

from typing import Annotated

from pydantic import StringConstraints

from components.core.catalogue.values import Parameters


class RegisterParameters(Parameters):
    """How the model is described where it is kept."""

    description: str = ""
    """One paragraph for the model card and the registry."""
    license: str = ""
    """Licence of the tuned model for the card; empty takes the base model's where it is known."""
    private: bool = True
    """Create the Hub repository as private."""
    restricted: bool = False
    """List the model for, and let it be used from, its own namespace only."""


class DeployParameters(Parameters):
    """The online endpoint."""

    endpoint_name: Annotated[str, StringConstraints(pattern=r"^([a-z]([-a-z0-9]{0,40}[a-z0-9])?)?$")] = ""
    """Name of the endpoint, and of the model in its paths: lower-case letters, digits and hyphens; none takes the
    registered model's."""
