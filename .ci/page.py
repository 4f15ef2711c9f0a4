"""Compares a page as the browser has built it with the report that it shows: page.py REPORT.json PAGE.dom"""

import json
import sys
from html.parser import HTMLParser


class Page(HTMLParser):
    """Every figure of the page, and what must not be in it."""

    def __init__(self):
        super().__init__()
        self.data, self.rows, self.curve, self.bad, self.title = {}, {}, [], [], ""
        self.depth, self.row, self.table = [], None, ""

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        self.depth.append(tag)
        if tag in ("script", "img", "link", "iframe") or any(name.startswith("on") for name in a):
            self.bad.append((tag, a))
        if tag == "data":
            self.data[a["id"]] = float(a["value"])
        if tag == "table":
            self.table = a.get("class", "")
        if tag == "tr":
            self.row = []
            if "data-bytes" in a:
                self.curve.append((int(a["data-bytes"]), float(a["data-energy"])))
        if tag == "td" and "data-v" in a:
            self.row.append(float(a["data-v"]))

    def handle_endtag(self, tag):
        if tag == "tr" and self.table == "modules" and self.row:
            self.rows[len(self.rows)] = self.row

    def handle_data(self, text):
        if self.depth and self.depth[-1] == "title" and not self.title:
            self.title = text


def same(a, b):
    """Up to what two parsers make of the digits."""
    return abs(a - b) < 1e-9


def between(curve, size):
    """The curve between its points."""
    before = [p for p in curve if p["bytes"] <= size][-1]
    after = [p for p in curve if p["bytes"] >= size] or [before]
    width = after[0]["bytes"] - before["bytes"]
    part = (size - before["bytes"]) / width if width else 0.0
    return before["energy"] + part * (after[0]["energy"] - before["energy"])


def main(report, dom):
    report = json.load(open(report, encoding="utf-8"))
    page = Page()
    page.feed(open(dom, encoding="utf-8").read())
    assert not page.bad, page.bad
    assert "kept · " in page.title and page.title.endswith("phlora"), page.title
    total = report["total"]
    assert same(page.data["energy"], total["energy"]), page.data
    assert same(page.data["whole_energy"], total["whole_energy"]), page.data
    assert page.data["bytes_out"] == report["bytes_out"], page.data
    squares = [module["delta_norm"] ** 2 for module in report["modules"]]
    left = sum((tensor["delta_norm"] or 0) ** 2 for tensor in report["left_out"])
    full = sum(tensor["delta_norm"] ** 2 for tensor in report.get("full", []))
    everything = sum(squares) + left + full
    rank = sum((1 - module["energy"]) * square for module, square in zip(report["modules"], squares))
    assert same(page.data["outside"], left / everything), page.data
    assert same(page.data["part-left"], left / everything), page.data
    assert same(page.data["part-rank"], rank / everything), page.data
    kept = page.data["part-kept"] + page.data.get("part-beside", 0)
    assert same(kept, total["whole_energy"]), page.data
    assert len(page.rows) == len(report["modules"]), len(page.rows)
    for at, module in enumerate(report["modules"]):
        energy, size = page.rows[at]
        assert same(energy, module["energy"]) and size == module["bytes"], module["name"]
    assert 4 <= len(page.curve) <= 12, page.curve
    for size, energy in page.curve:
        assert same(energy, between(report["curve"], size)), (size, energy)
    chosen = sum(module["bytes"] for module in report["modules"])
    assert same(page.data["double"], between(report["curve"], min(2 * chosen, report["curve"][-1]["bytes"]))), page.data


main(*sys.argv[1:])
