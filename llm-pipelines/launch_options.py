"""Options that every command has which starts a pipeline."""

from pathlib import Path
from typing import Annotated

import typer

Host = Annotated[str | None, typer.Option(envvar="KFP_HOST", help="Kubeflow Pipelines address; none runs here.")]
Namespace = Annotated[str, typer.Option(envvar="KFP_NAMESPACE", help="Namespace of the run.")]
Experiment = Annotated[str, typer.Option(help="Experiment of the run on the cluster.")]
RunName = Annotated[str | None, typer.Option(help="Name of the run on the cluster; by default with the time.")]
Wait = Annotated[bool | None, typer.Option(help="Follow the run to its end; by default when the output is a terminal.")]
FollowLogs = Annotated[bool, typer.Option("--follow-logs", help="Print what the steps on the cluster print, too.")]
CancelOnInterrupt = Annotated[
    bool | None,
    typer.Option(
        "--cancel-on-interrupt/--keep-on-interrupt",
        help="What Ctrl-C does to the run on the cluster; by default asks on a terminal, else keeps it.",
    ),
]
Cron = Annotated[str | None, typer.Option(help="Make a recurring run of it: six fields, seconds first, '0 0 3 * * *'.")]
Paused = Annotated[bool, typer.Option("--paused", help="Make the recurring run without starting its clock.")]
CompileOnly = Annotated[Path | None, typer.Option(help="Write the compiled pipeline to this file and stop.")]
Cache = Annotated[bool, typer.Option(help="Reuse steps whose inputs have not changed.")]
DryRun = Annotated[bool, typer.Option(help="Check everything, print what would be run and stop.")]
ModelDefaultsWin = Annotated[
    bool,
    typer.Option(
        "--model-defaults-win", help="The older rule: a model's defaults win over your values; each one is warned of."
    ),
]
CheckGpus = Annotated[
    bool,
    typer.Option("--preflight/--no-preflight", help="Hold a run against the cluster's GPUs before it is submitted."),
]
