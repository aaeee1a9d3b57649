#!/usr/bin/env python3
"""Runs the README's curl examples as they stand there, at the address given: they must answer with choices, models or text.

    readme_curl.py http://127.0.0.1:8080
"""
import pathlib
import re
import subprocess
import sys

ASSUMED = "http://127.0.0.1:8080"
readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text()
blocks = re.findall(r"^```sh\n(.*?)^```", readme, re.M | re.S)
# A command is a line that begins with curl, and those up to the one that ends its quotes.
commands = [command for block in blocks for command in re.findall(r"^curl (?:[^'\n]|'[^']*')*$", block, re.M)]
assert commands, "the README has no curl example"
for command in commands:
    assert ASSUMED in command, command
    command = command.replace(ASSUMED, sys.argv[1]).replace("curl ", "curl --fail-with-body --max-time 60 ", 1)
    answer = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert answer.returncode == 0 and answer.stdout, f"{command}\n{answer.stdout}{answer.stderr}"
    print("ok ", command.splitlines()[0])
