"""More than one process: torchrun on one node, a Kubeflow TrainJob on several."""
