"""The package `httpx-sse`: python3 with_httpx_sse.py URL"""

import json
import sys

import httpx
from httpx_sse import connect_sse

with httpx.Client(timeout=None) as client:
    with connect_sse(client, "GET", sys.argv[1]) as source:
        for sse in source.iter_sse():
            seen = {"id": sse.id, "event": sse.event, "data": sse.data}
            print(json.dumps(seen), flush=True)
