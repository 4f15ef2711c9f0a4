#!/usr/bin/env python3
"""A bill of materials in CycloneDX's JSON: cargo metadata … | contents.py PACKAGE…

Lists the packages that are compiled into PACKAGE…, from `cargo metadata --filter-platform` on standard input and the checksums of
Cargo.lock: build scripts' and tests' dependencies are not among them.
"""

import json
import os
import pathlib
import sys
import tomllib
import uuid


def reached(metadata, roots):
    """Ids of the packages that `roots` are linked from, and their own, with what each depends on."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    edges, waiting = {}, list(roots)
    while waiting:
        one = waiting.pop()
        if one in edges:
            continue
        dependencies = nodes[one]["deps"]
        edges[one] = sorted(
            dependency["pkg"]
            for dependency in dependencies
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        )
        waiting.extend(edges[one])
    return edges


def component(package, checksums):
    reference = f"pkg:cargo/{package['name']}@{package['version']}"
    found = {
        "type": "library",
        "bom-ref": reference,
        "name": package["name"],
        "version": package["version"],
        "purl": reference,
    }
    if package["license"]:
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return found


def main(names):
    metadata = json.load(sys.stdin)
    packages = {package["id"]: package for package in metadata["packages"]}
    roots = [package["id"] for package in packages.values() if package["name"] in names and package["id"] in metadata["workspace_members"]]
    if len(roots) != len(names):
        raise SystemExit(f"contents.py: the workspace does not have all of {', '.join(names)}")
    lock = tomllib.loads(pathlib.Path(metadata["workspace_root"], "Cargo.lock").read_text())
    checksums = {(one["name"], one["version"]): one.get("checksum") for one in lock["package"]}
    edges = reached(metadata, roots)
    version = packages[roots[0]]["version"]
    components = sorted((component(packages[one], checksums) for one in edges), key=lambda one: one["bom-ref"])
    reference = {one: f"pkg:cargo/{packages[one]['name']}@{packages[one]['version']}" for one in edges}
    product = {"type": "application", "bom-ref": f"phlora-{version}", "name": "phlora", "version": version}
    listed = json.dumps(components, sort_keys=True)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, listed)}",
        "version": 1,
        "metadata": {"component": product},
        "components": components,
        "dependencies": [{"ref": product["bom-ref"], "dependsOn": sorted(reference[root] for root in roots)}]
        + [{"ref": reference[one], "dependsOn": [reference[to] for to in edges[one]]} for one in sorted(edges, key=reference.get)],
    }
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch:
        from datetime import datetime, timezone

        bill["metadata"]["timestamp"] = datetime.fromtimestamp(int(epoch), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    json.dump(bill, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main(sys.argv[1:])
