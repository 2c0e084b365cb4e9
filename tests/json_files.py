"""Every JSON file of a run, read by a program that takes the standard at its word."""

import json
import pathlib


def checked(directory: pathlib.Path) -> list[str]:
    """Names of the JSON files and journals below a directory; NaN or Infinity fails the test."""
    found = []
    for path in sorted(directory.rglob("*.json")) + sorted(directory.rglob("*.journal")):
        texts = path.read_text().splitlines() if path.suffix == ".journal" else [path.read_text()]
        for text in texts:
            if path.suffix == ".journal":
                _, _, text = text.partition(" ")

            def refuse(name, path=path):
                raise AssertionError(f"{path} holds {name}")

            json.loads(text, parse_constant=refuse)
        found.append(path.name)
    return found
