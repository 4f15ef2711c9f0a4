"""Runs axe-core on a page: axe.py PAGE.html AXE.js COPY.html makes a copy that runs it, axe.py --frame COPY.html WIDTH FRAME.html a page
with that copy in a frame of so many pixels (windows are never as narrow as a phone), axe.py --found COPY.dom says what it found in
either as the browser built it, or that the page is wider than its window."""

import html
import json
import re
import sys

RUN = """<script>
axe.run(document, {resultTypes: ["violations"]}).then((found) => {
  const shown = found.violations.map((one) => ({
    id: one.id, help: one.help, nodes: one.nodes.slice(0, 5).map((node) => node.html.slice(0, 200) + " " + node.failureSummary)
  }));
  const {scrollWidth, clientWidth} = document.documentElement;
  if (scrollWidth > clientWidth)
    shown.push({id: "wider-than-its-window", help: `${scrollWidth} px in ${clientWidth} px`, nodes: []});
  const out = document.createElement("pre");
  out.id = "axe-found";
  out.textContent = JSON.stringify({rules: found.passes.length, violations: shown});
  document.body.append(out);
  if (parent !== window) parent.postMessage(out.textContent, "*");
});
</script>"""

FRAME = """<!doctype html><title>frame</title><body style="margin:0"><script>
addEventListener("message", (message) => {
  const out = document.createElement("pre");
  out.id = "axe-found";
  out.textContent = message.data;
  document.body.append(out);
});
</script><iframe src="%s" style="width:%spx;height:2000px;border:0"></iframe>"""


def copy(page, axe, to):
    text = open(page, encoding="utf-8").read()
    text, policies = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    assert policies == 1, "the page has no policy"
    axe = open(axe, encoding="utf-8").read()
    open(to, "w", encoding="utf-8").write(text.replace("</body>", f"<script>{axe}</script>{RUN}</body>"))


def found(dom):
    result = re.search(r'<pre id="axe-found">(.*?)</pre>', open(dom, encoding="utf-8").read(), re.S)
    if not result:
        sys.exit("axe-core did not come to an end")
    result = json.loads(html.unescape(result[1]))
    if result["violations"]:
        sys.exit(json.dumps(result["violations"], indent=1))
    assert result["rules"] > 0, "no rule was tried"


if sys.argv[1] == "--found":
    found(sys.argv[2])
elif sys.argv[1] == "--frame":
    open(sys.argv[4], "w", encoding="utf-8").write(FRAME % (sys.argv[2], sys.argv[3]))
else:
    copy(*sys.argv[1:])
