"""Recurring runs: a pipeline that the cluster starts by the clock."""

import re
from typing import Any

import kfp_server_api

from components.core.errors import ConfigError

# mypy cannot follow a folder whose name has a hyphen.
from .run import find_experiment  # type: ignore[import-not-found]
from .session import Session  # type: ignore[import-not-found]

_FIELDS = {
    "second": (0, 59, ""),
    "minute": (0, 59, ""),
    "hour": (0, 23, ""),
    "day of the month": (1, 31, ""),
    "month": (1, 12, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"),
    "day of the week": (0, 6, "SUN MON TUE WED THU FRI SAT"),
}
_PART = re.compile(r"(?P<first>[*?]|\w+)(-(?P<last>\w+))?(/(?P<step>\d+))?")


def check_cron(expression: str) -> str:
    """A cron expression as Kubeflow Pipelines reads it: six fields, of which the first counts seconds.

    Raises:
        ConfigError: If there are not six fields, or one holds what it cannot.
    """
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        example = f" Put a 0 for the seconds in front: '0 {expression}'." if len(fields) == 5 else ""
        raise ConfigError(
            f"cron expression '{expression}' has {len(fields)} fields. Kubeflow's have six: second, minute, hour, "
            f"day of the month, month, day of the week.{example}"
        )
    for text, (name, (low, high, names)) in zip(fields, _FIELDS.items(), strict=True):
        for part in text.split(","):
            if not _holds(part, low, high, names.split()):
                raise ConfigError(
                    f"cron expression '{expression}': {name} '{text}' is not *, a number from {low} to {high}, "
                    "a range (2-4), a list (1,3) or a step (*/5)."
                )
    return " ".join(fields)


def _holds(part: str, low: int, high: int, names: list[str]) -> bool:
    found = _PART.fullmatch(part)
    if not found or found["step"] == "0":
        return False
    if found["first"] in {"*", "?"}:
        return found["last"] is None
    ends = [_number(end, low, names) for end in (found["first"], found["last"]) if end is not None]
    return all(low <= end <= high for end in ends) and ends == sorted(ends)


def _number(text: str, low: int, names: list[str]) -> int:
    if text.upper() in names:
        return low + names.index(text.upper())
    return int(text) if text.isdecimal() else -1


def create_schedule(
    session: Session, package: dict[str, Any], experiment: str, name: str, cron: str, enabled: bool
) -> str:
    """Have the cluster start a pipeline by the clock, one run at a time, and give back the id.

    Raises:
        ConfigError: If there is one of that name.
        PlatformError: If the server cannot be reached or refuses.
    """
    if _named(session, name):
        raise ConfigError(
            f"there is a recurring run {name} in {session.asked_namespace}. Remove it (python -m llm-pipelines.runs "
            "unschedule NAME) or choose another --run-name."
        )
    schedule = kfp_server_api.V2beta1RecurringRun(
        experiment_id=find_experiment(session, experiment),
        display_name=name,
        pipeline_spec=package,
        runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters={}),
        trigger=kfp_server_api.V2beta1Trigger(cron_schedule=kfp_server_api.V2beta1CronSchedule(cron=cron)),
        mode="ENABLE" if enabled else "DISABLE",
        max_concurrency="1",
        no_catchup=True,
    )
    create = session.schedules.recurring_run_service_create_recurring_run
    return str(session.call(create, schedule).recurring_run_id)


def list_schedules(session: Session) -> list[Any]:
    """All recurring runs of the namespace."""
    place = {"namespace": session.namespace} if session.namespace else {}
    list_page = session.schedules.recurring_run_service_list_recurring_runs
    found: list[Any] = []
    token = ""
    while True:
        page = session.call(list_page, page_size=100, page_token=token, **place)
        found += page.recurring_runs or []
        token = page.next_page_token
        if not token:
            return found


def delete_schedule(session: Session, name: str) -> None:
    """Remove a recurring run by its name; runs that it has started go on.

    Raises:
        ConfigError: If there is none of that name.
    """
    found = _named(session, name)
    if not found:
        known = ", ".join(schedule.display_name for schedule in list_schedules(session)) or "none"
        raise ConfigError(f"there is no recurring run {name} in {session.asked_namespace}. There is: {known}.")
    for schedule in found:
        session.call(session.schedules.recurring_run_service_delete_recurring_run, schedule.recurring_run_id)


def _named(session: Session, name: str) -> list[Any]:
    return [schedule for schedule in list_schedules(session) if schedule.display_name == name]
