"""Endpoints: named deployments behind one front that asks for keys and splits the traffic; here those of this machine.

record.py    what is kept on disk, and the lock around a change
keys.py      primary and secondary key; the front knows their hashes only
traffic.py   shares that sum to 100, and the split itself
front.py     the process that callers reach; forwarding.py and measures.py are its parts
lifecycle.py create, deploy, traffic, delete;  status.py what of it runs
promotion.py a candidate that moves on while it holds, and back when it does not
seam.py      what the endpoint command asks of this machine (local.py) or of a cluster (../cluster_endpoints)
invoking.py  one request from a file, with the expected answer beside it
"""
