"""Runs inside the api container: waits until the model is ready, then asks it one question."""

import json
import time
import urllib.error
import urllib.request

API = "http://127.0.0.1:8080"
CONTEXT = "The Stiltoneth Bridge was designed by Julia Durkitesh. The Stiltoneth Bridge spans the river Laltund."

end = time.monotonic() + 100
while True:
    try:
        urllib.request.urlopen(f"{API}/readyz", timeout=5)
        break
    except urllib.error.URLError:
        assert time.monotonic() < end, "the model is not ready in 100 s"
        time.sleep(0.3)
question = {"question": "Who designed the Stiltoneth Bridge?", "context": CONTEXT, "max_new_tokens": 8}
headers = {"content-type": "application/json"}
request = urllib.request.Request(f"{API}/generate", json.dumps(question).encode(), headers)
with urllib.request.urlopen(request, timeout=100) as response:
    answer = json.load(response)
assert answer["usage"]["completion_tokens"] > 0, answer
print(f"/generate answered {answer['response']!r}")
