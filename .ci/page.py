"""Compares a page as the browser has built it with the report that it shows: page.py REPORT.json PAGE.dom"""

import json
import sys
from html.parser import HTMLParser


class Page(HTMLParser):
    """Every figure of the page, and what must not be in it."""

    def __init__(self):
        super().__init__()
        self.data, self.rows, self.cells, self.curve, self.bad, self.title = {}, {}, {}, [], [], ""
        self.depth = []

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        self.depth.append(tag)
        if tag in ("script", "img", "link", "iframe") or any(name.startswith("on") for name in a):
            self.bad.append((tag, a))
        if tag == "data":
            self.data[a["id"]] = float(a["value"])
        if "data-rank" in a:
            self.rows[a["data-module"]] = a
        elif tag == "td" and "data-module" in a:
            self.cells[a["data-module"]] = float(a["data-energy"])
        elif "data-bytes" in a:
            self.curve.append((int(a["data-bytes"]), float(a["data-energy"])))

    def handle_data(self, text):
        if self.depth and self.depth[-1] == "title" and not self.title:
            self.title = text


def same(a, b):
    """Up to what two parsers make of the digits."""
    return abs(a - b) < 1e-12


def main(report, dom):
    report = json.load(open(report, encoding="utf-8"))
    page = Page()
    page.feed(open(dom, encoding="utf-8").read())
    assert not page.bad, page.bad
    assert page.title.endswith("kept · phlora"), page.title
    total = report["total"]
    assert same(page.data["energy"], total["energy"]), page.data
    assert page.data["bytes_out"] == report["bytes_out"], page.data
    left = sum((tensor["delta_norm"] or 0) ** 2 for tensor in report["left_out"])
    inside = total["delta_norm"] ** 2
    full = sum(tensor["delta_norm"] ** 2 for tensor in report.get("full", []))
    assert same(page.data["outside"], left / (left + inside + full)), page.data
    assert len(page.rows) == len(report["modules"]), len(page.rows)
    for module in report["modules"]:
        row = page.rows[module["name"]]
        assert int(row["data-rank"]) == module["rank"], row
        assert int(row["data-bytes"]) == module["bytes"], row
        assert same(float(row["data-energy"]), module["energy"]), row
        assert same(page.cells[module["name"]], module["energy"]), row
    assert len(page.curve) == len(report["curve"])
    for (size, energy), point in zip(page.curve, report["curve"]):
        assert size == point["bytes"] and same(energy, point["energy"]), point
    chosen = sum(module["bytes"] for module in report["modules"])
    below = [energy for size, energy in page.curve if size <= 2 * chosen]
    above = [energy for size, energy in page.curve if size >= 2 * chosen]
    assert below[-1] <= page.data["double"] <= (above or below[-1:])[0], page.data


main(*sys.argv[1:])
