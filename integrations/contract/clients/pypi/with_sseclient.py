"""The package `sseclient-py`: python3 with_sseclient.py URL"""

import json
import sys

import requests
from sseclient import SSEClient

response = requests.get(sys.argv[1], stream=True, headers={"Accept": "text/event-stream"})
for event in SSEClient(response).events():
    seen = {"id": event.id or "", "event": event.event, "data": event.data}
    print(json.dumps(seen), flush=True)
