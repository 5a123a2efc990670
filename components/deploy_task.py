"""Step: an online endpoint for a model of the catalogue; published as deploy_<task>."""

from typing import NamedTuple

from components._step import step


@step
def deploy_task(
    task: str,
    parameters: dict,
    registration: dict,
) -> NamedTuple("Endpoint", [("endpoint", dict)]):
    """Serve a registered model: an InferenceService in a cluster, a process of its own on a laptop."""
    from dataclasses import asdict

    from components.core.errors import user_errors
    from components.core.progress import log_to_stdout

    log_to_stdout()
    with user_errors():
        from components.core.catalogue import read_parameters
        from components.core.catalogue.deployment import DeployParameters
        from components.core.deployment.online import deploy_model
        from components.core.registry import Published
        from components.core.settings import load_settings

        if not registration["published"]:
            print("Nothing to deploy: the gate refused the model.")
            return ({},)
        values = read_parameters(DeployParameters, parameters)
        name = values.endpoint_name or registration["registered"]["name"]
        made = deploy_model(Published(**registration["published"]), name, load_settings())
        return (asdict(made),)
