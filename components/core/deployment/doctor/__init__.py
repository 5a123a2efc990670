"""`make doctor`: what a cluster has, against what a recipe and the endpoint need; nothing is changed."""

from components.core.deployment.doctor.examination import as_json, examine_cluster, show, summarize
from components.core.deployment.doctor.finding import Finding, Subject

__all__ = ["Finding", "Subject", "as_json", "examine_cluster", "show", "summarize"]
