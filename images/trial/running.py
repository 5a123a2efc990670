"""Runs an image as a pod with a read-only root would, and asks it what only the running image can answer."""

from pathlib import Path

from components.core.errors import StorageError
from images.catalogue import ROOT, Image
from images.trial.container import Container

_PROBES = Path(__file__).with_name("probes")
_STARTER_MODEL = ROOT / "components" / "starter" / "model"
_HEALTHY_SECONDS = 240.0
_STOP_SECONDS = 35.0


def run_image(image: Image, container: Container) -> list[str]:
    """What the running image was seen to do.

    Raises:
        StorageError: If it does not do it.
    """
    probe = (_PROBES / f"{image.key}.py").read_text(encoding="utf-8")
    if not container.config.health_check:
        return _run_once(container, probe)
    if image.key == "api":
        container.mounted = {"/mnt/models": str(_STARTER_MODEL)}
    container.start()
    try:
        said = [f"health check answers after {container.wait_healthy(_HEALTHY_SECONDS):.1f} s"]
        said += [_hardened(container), _asked(container, probe)]
    finally:
        seconds = container.stop()
    if container.process.returncode or seconds > _STOP_SECONDS:
        raise StorageError(f"SIGTERM ended it with {container.process.returncode} after {seconds:.0f} s")
    return [*said, f"ends {seconds:.1f} s after SIGTERM, exit code 0"]


def _run_once(container: Container, probe: str) -> list[str]:
    container.start("-c", probe)
    try:
        if container.process.wait(600):
            raise StorageError(f"the steps cannot run: {container.last_words()}")
    finally:
        container.stop()
    return [container.last_words()]


def _asked(container: Container, probe: str) -> str:
    done = container.execute(["python", "-c", probe])
    if done.returncode:
        raise StorageError(f"{done.stderr.strip()[-600:]} / {container.last_words()}")
    return done.stdout.strip()


def _hardened(container: Container) -> str:
    """See for ourselves that the process has no rights, and that not even root could write beside it."""
    status = Path(f"/proc/{container.first_process()}/status").read_text(encoding="utf-8")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    rights = {facts["NoNewPrivs"], facts["CapEff"].strip("0"), facts["CapBnd"].strip("0"), facts["Groups"].strip()}
    if facts["Uid"].split() != ["10001"] * 4 or facts["Gid"].split() != ["10001"] * 4 or rights != {"1", ""}:
        raise StorageError(f"the process has rights that it must not have: {status}")
    written = container.execute(["python", "-c", "open('/app/new', 'w')"], as_root=True)
    if "Read-only file system" not in written.stderr:
        raise StorageError("the root file system is not read-only")
    return "uid 10001, no capability, no new privileges; the root is read-only even for root"
