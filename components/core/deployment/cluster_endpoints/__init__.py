"""Endpoints of a cluster: named deployments, each an InferenceService, behind one Istio route that splits the traffic.

names.py      what the objects of an endpoint are called, and their labels
documents.py  the objects themselves;  routes.py the VirtualServices among them
record.py     what is known about an endpoint, read from the cluster: nothing is kept elsewhere
changes.py    a change of the routes, with others that change them at the same time
lifecycle.py  create, deploy, traffic;  removal.py takes out again and waits;  instances.py which GPUs a model may use
keys.py       the Secret with both keys, and when the pods take them
asking.py     where an endpoint is asked, and one request to it
promoting.py  a promotion here, measured by its own probes
endpoints.py  all of it, as the endpoint command asks for it
"""
