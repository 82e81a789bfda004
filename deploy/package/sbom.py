#!/usr/bin/env python3
"""Prints the software bill of materials of the binary: CycloneDX 1.5 as JSON, from `cargo metadata` and Cargo.lock.

    sbom.py SECONDS_SINCE_1970

The same commit and time give the same bytes. Components with scope `required` are in the binary. Those with scope `excluded`
only helped to build it: procedural macros, build scripts and what these depend on.
"""

import datetime
import json
import subprocess
import sys
import tomllib

TARGET = "x86_64-unknown-linux-gnu"
BINARY = "logferry"


def metadata():
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", TARGET]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def reached(nodes, packages, root):
    """Ids of the packages in the binary, and of those that only help to build it."""
    linked, building = set(), set()

    def visit(package, is_linked):
        done = linked if is_linked else building
        if package in done:
            return
        done.add(package)
        for dependency in nodes[package]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            macro = any("proc-macro" in target["kind"] for target in packages[dependency["pkg"]]["targets"])
            if None in kinds:
                visit(dependency["pkg"], is_linked and not macro)
            if "build" in kinds:
                visit(dependency["pkg"], False)

    visit(root, True)
    return linked, building - linked


def needed_by(node):
    """The packages that this one needs to be built, without those of its tests."""
    return [to["pkg"] for to in node["deps"] if any(kind["kind"] != "dev" for kind in to["dep_kinds"])]


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, is_linked, checksums):
    name, version = package["name"], package["version"]
    entry = {
        "type": "library",
        "bom-ref": reference(package),
        "name": name,
        "version": version,
        "scope": "required" if is_linked else "excluded",
        "purl": reference(package),
    }
    if package["license"]:
        # Some old manifests write "A/B" for "A OR B".
        entry["licenses"] = [{"expression": " ".join(package["license"].replace("/", " OR ").split())}]
    if checksum := checksums.get((name, version)):
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return entry


def main():
    built = datetime.datetime.fromtimestamp(int(sys.argv[1]), datetime.timezone.utc)
    data = metadata()
    packages = {package["id"]: package for package in data["packages"]}
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    root = next(id for id in data["workspace_members"] if packages[id]["name"] == BINARY)
    linked, building = reached(nodes, packages, root)
    with open("Cargo.lock", "rb") as lock:
        locked = tomllib.load(lock)["package"]
    checksums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in locked}

    parts = linked | building
    of_root = component(packages[root], True, checksums) | {"type": "application"}
    components = [component(packages[id], id in linked, checksums) for id in parts if id != root]
    arrows = [
        {
            "ref": reference(packages[id]),
            "dependsOn": sorted({reference(packages[to]) for to in needed_by(nodes[id]) if to in parts}),
        }
        for id in parts
    ]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"timestamp": built.strftime("%Y-%m-%dT%H:%M:%SZ"), "component": of_root},
        "components": sorted(components, key=lambda entry: entry["bom-ref"]),
        "dependencies": sorted(arrows, key=lambda entry: entry["ref"]),
    }
    json.dump(bill, sys.stdout, indent=1, sort_keys=True)
    print()


main()
