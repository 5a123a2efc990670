"""Where checkpoints are kept."""

from collections.abc import Iterator, Sequence

from components.core.deployment.doctor.finding import Finding, Object, Subject, dig

_DEFAULT = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_SHARED = ("nfs", "efs.csi", "fsx.csi", "file.csi.azure", "azure-file", "filestore", "cephfs", "glusterfs", "lustre",
           "longhorn", "portworx", "weka", "gpfs", "beegfs", "quobyte", "netapp", "trident", "juicefs")  # fmt: skip
"""Parts of the names of provisioners whose volumes several nodes can mount."""


def check_storage(subject: Subject) -> Iterator[Finding]:
    """Storage classes, and the volume of the checkpoints."""
    claim_name = subject.recipe.resources.checkpoint_volume
    claim = subject.cluster.get("PersistentVolumeClaim", claim_name, subject.namespace) if claim_name else None
    classes = subject.cluster.list("StorageClass")
    bound = dig(claim, "status", "phase") == "Bound"
    yield _default_class(classes, settled=bound or bool(dig(claim, "spec", "storageClassName")))
    several = subject.recipe.gpu.num_nodes > 1
    if several and not bound:
        yield _shared_class(classes)
    if claim_name:
        yield _claim(claim_name, claim, several)


def _default_class(classes: Sequence[Object], settled: bool) -> Finding:
    title = "Storage classes"
    names = {str(dig(one, "metadata", "name")): dig(one, "metadata", "annotations") or {} for one in classes}
    default = [name for name, notes in names.items() if any(notes.get(key) == "true" for key in _DEFAULT)]
    if default:
        return Finding("ok", title, f"{', '.join(sorted(names))}; {default[0]} is the default")
    detail = f"none of {', '.join(sorted(names))} is the default" if names else "there are none"
    remedy = "Mark one: kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class=true."
    if not names:
        remedy = "Install a provisioner; without one no volume is ever bound."
    return Finding("warning" if settled else "error", title, detail, remedy)


def _shared_class(classes: Sequence[Object]) -> Finding:
    title = "Shared volumes"
    provisioners = {str(dig(one, "metadata", "name")): str(dig(one, "provisioner")).lower() for one in classes}
    shared = [name for name, provisioner in provisioners.items() if any(word in provisioner for word in _SHARED)]
    if shared:
        return Finding("ok", title, f"{', '.join(sorted(shared))} can be mounted by several nodes")
    remedy = "Make sure that one does (NFS, EFS, Filestore, CephFS, ...): gpu.num_nodes > 1 needs it."
    return Finding("warning", title, "no storage class is known to give ReadWriteMany volumes", remedy)


def _claim(name: str, claim: Object | None, several: bool) -> Finding:
    title = "Checkpoint volume"
    if claim is None:
        remedy = "kubectl apply -k manifests/pipeline, or set resources.checkpoint_volume=none."
        return Finding("error", title, f"no PersistentVolumeClaim {name}", remedy)
    phase, modes = dig(claim, "status", "phase") or "Pending", dig(claim, "spec", "accessModes") or []
    if phase not in ("Bound", "Pending"):
        return Finding("error", title, f"{name} is {phase}", "Look at it: kubectl describe pvc " + name)
    if several and "ReadWriteMany" not in modes:
        detail = f"{name} is {', '.join(modes) or 'without access modes'}; several nodes need ReadWriteMany"
        return Finding(
            "error", title, detail, "Make it again with accessModes [ReadWriteMany], or set gpu.num_nodes=1."
        )
    waiting = "; it is bound when the first pod uses it" if phase == "Pending" else ""
    return Finding("ok", title, f"{name}, {phase}, {', '.join(modes)}{waiting}")
