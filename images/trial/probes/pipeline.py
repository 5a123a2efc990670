"""Runs inside the pipeline image: every step and library module imports, and the starter's rows become tokens."""

import importlib
import os
import pkgutil
import shutil
from pathlib import Path

import kfp.dsl.executor_main  # noqa: F401 - what a pod's command runs

import components.core
from components.core.data.tokens import tokenize_dataset
from components.core.recipe import ModelConfig, TaskConfig, TokensConfig
from components.core.settings import STARTER_DIR, load_settings

assert (os.getuid(), os.getgid(), os.statvfs("/").f_flag & os.ST_RDONLY) == (10001, 10001, os.ST_RDONLY)
for tool in ("sh", "mktemp", "python3"):
    assert shutil.which(tool), f"a pod's command needs {tool}"
steps = [module.name for module in pkgutil.iter_modules(components.__path__) if not module.ispkg]
steps = [name for name in steps if not name.startswith("_")]
library = [module.name for module in pkgutil.walk_packages(components.core.__path__, "components.core.")]
for name in [*(f"components.{step}" for step in steps), *library]:
    importlib.import_module(name)

settings = load_settings()
out = settings.whetstone_home / "tokens"
report = tokenize_dataset(TaskConfig(), ModelConfig(), TokensConfig(), Path(STARTER_DIR, "data"), out, settings)
rows = report.splits["train"]["rows"]
assert rows > 0
assert settings.git_commit != "unknown"
print(f"{len(steps)} steps, {len(library)} library modules imported; {rows:.0f} starter rows tokenized")
