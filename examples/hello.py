"""The first script to run: says hello, and shows what a script is given."""

import json
import os
import platform
import sys

context = json.loads(sys.stdin.read() or "null")

name = (context or {}).get("name", "world")
print(f"Hello, {name}!")
print(f"I am Python {platform.python_version()}, working in {os.getcwd()}.")
print(f"My host application is {os.environ['dtable_web_url']}.")
print(f"My context is {json.dumps(context, ensure_ascii=False)}.")
