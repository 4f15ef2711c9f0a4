#!/usr/bin/env bash
# The pages in a real browser: they render without an error, the figures equal the report's, a hostile name stays a name, and axe-core
# finds nothing that keeps people out, light, dark and on a phone of 390 pixels, where nothing is wider than the window. Keeps
# screenshots and a print in $PAGE_SHOTS if that is set.
set -euo pipefail
cd "$(dirname "$0")/.."
bash .ci/apt.sh chromium python3
command -v npm >/dev/null || bash .ci/apt.sh nodejs npm

die() { echo "page.sh: $*" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
browser() {
  # It leaves caches and settings in its home.
  HOME=$work timeout 120 chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars \
    --enable-logging=stderr --user-data-dir="$work/profile" "$@" 2>"$work/log"
}

cargo build --locked --quiet -p phlora-cli
phlora=${CARGO_TARGET_DIR:-target}/debug/phlora
pair=tests/data/tiny-llama
"$phlora" extract $pair/base $pair/tuned -o "$work/adapter" --budget 500kB --also norms --report "$work/report.json" --quiet
python3 - "$work" <<'PYTHON'
import json, sys
# Names that would run a script and change the title, were they not escaped.
work = sys.argv[1]
report = json.load(open(f"{work}/report.json"))
for i, module in enumerate(report["modules"]):
    tag = ["<script>document.title='pwned'</script>", "\"><svg onload=\"document.title='pwned'\">",
           "</title></style></svg><img src=x onerror=\"document.title='pwned'\">"][i % 3]
    module["name"] += tag
    module["kind"] += tag
json.dump(report, open(f"{work}/hostile.json", "w"))
PYTHON

# Models of many modules: the page stays small enough to be sent.
python3 - "$work" <<'PYTHON'
import copy, json, sys
work = sys.argv[1]
report = json.load(open(f"{work}/report.json"))
kinds = [module for module in report["modules"] if ".layers.0." in module["name"]]
for count in 224, 2000:
    report["modules"] = [copy.deepcopy(kinds[at % len(kinds)]) for at in range(count)]
    for at, module in enumerate(report["modules"]):
        for key in "name", "layer":
            module[key] = module[key].replace("layers.0", f"layers.{at // len(kinds)}")
    json.dump(report, open(f"{work}/many-{count}.json", "w"))
PYTHON
for count in 224 2000; do
  "$phlora" report "$work/many-$count.json" -o "$work/many-$count.html" --quiet
  [ "$(stat -c %s "$work/many-$count.html")" -lt 1000000 ] || die "the page of $count modules is larger than 1 MB"
done

for name in report hostile; do
  "$phlora" report "$work/$name.json" -o "$work/$name.html"
  browser --dump-dom "file://$work/$name.html" >"$work/$name.dom"
  # What the page itself reports is logged as CONSOLE.
  if grep -i 'CONSOLE' "$work/log"; then die "$name: the page reports an error"; fi
  python3 .ci/page.py "$work/$name.json" "$work/$name.dom"
done

# Every kind of page.
"$phlora" plan $pair/base $pair/tuned --quiet --report "$work/plan.html"
"$phlora" plan $pair/base $pair/tuned --quiet --max-rank 8 --report "$work/short.html"
"$phlora" diff $pair/base $pair/tuned --quiet --report "$work/models.html"
"$phlora" extract $pair/base $pair/tuned -o "$work/other" --rank 8 --quiet
"$phlora" diff "$work/adapter" "$work/other" --quiet --report "$work/adapters.html"
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$work/tools" axe-core@4.14.1
for name in report hostile plan short models adapters many-224; do
  # The page allows no script, so axe runs in a copy that does.
  python3 .ci/axe.py "$work/$name.html" "$work/tools/node_modules/axe-core/axe.min.js" "$work/$name-axe.html"
  python3 .ci/axe.py --frame "$name-axe.html" 390 "$work/$name-phone.html"
  for kind in light:axe dark:axe phone:phone; do
    options=()
    [ "${kind%%:*}" = dark ] && options=(--blink-settings=preferredColorScheme=0)
    browser "${options[@]}" --window-size="1400,900" --virtual-time-budget=20000 --dump-dom \
      "file://$work/$name-${kind#*:}.html" >"$work/axe.dom"
    python3 .ci/axe.py --found "$work/axe.dom" || die "$name, ${kind%%:*}: axe-core finds violations"
  done
done

for shot in light:1000,2700 dark:1000,2700; do
  options=()
  [ "${shot%%:*}" = dark ] && options=(--blink-settings=preferredColorScheme=0)
  browser "${options[@]}" --window-size="${shot#*:}" --screenshot="$work/${shot%%:*}.png" "file://$work/report.html"
  [ -s "$work/${shot%%:*}.png" ] || die "no screenshot: ${shot%%:*}"
  if [ -n "${PAGE_SHOTS:-}" ]; then cp "$work/${shot%%:*}.png" "$PAGE_SHOTS/"; fi
done
browser --no-pdf-header-footer --print-to-pdf="$work/report.pdf" "file://$work/report.html"
[ -s "$work/report.pdf" ] || die "it does not print"
if [ -n "${PAGE_SHOTS:-}" ]; then
  cp "$work/report.pdf" "$PAGE_SHOTS/"
  sed 's/-axe.html/.html/' "$work/report-phone.html" >"$work/frame.html"
  browser --window-size=500,4200 --screenshot="$PAGE_SHOTS/phone.png" "file://$work/frame.html"
fi
if cmp -s "$work/light.png" "$work/dark.png"; then die "light and dark look the same"; fi
echo "the pages render, axe-core finds nothing, and the figures are the report's"
