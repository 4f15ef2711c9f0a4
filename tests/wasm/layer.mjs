// Extracts a 64×64 layer with the wasm32 library, in every mode, and checks the energy against the factors.
//   node layer.mjs phlora.wasm
import { readFileSync } from "node:fs";

const [ROWS, COLS, RANK] = [64, 64, 4];
const { instance } = await WebAssembly.instantiate(readFileSync(process.argv[2]), {});
const wasm = instance.exports;
// The library never allocates: everything beyond its own data is ours.
let top = Math.ceil(wasm.__heap_base.value / 64) * 64;
wasm.memory.grow(8);
const place = (bytes) => { const at = top; top += Math.ceil(bytes / 64) * 64; return at; };
const floats = (at, count) => new Float32Array(wasm.memory.buffer, at, count);
const words = (at, count) => new Uint32Array(wasm.memory.buffer, at, count);
const check = (status) => {
  if (status === 0) return;
  const bytes = new Uint8Array(wasm.memory.buffer, wasm.phlora_status_message(status));
  throw new Error(new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0))));
};

const [base, tuned] = [place(4 * ROWS * COLS), place(4 * ROWS * COLS)];
const [a, b, sigma] = [place(4 * RANK * COLS), place(4 * ROWS * RANK), place(4 * RANK)];
const [options, plan, report, extractor] = [place(64), place(64), place(64), place(4)];
for (let i = 0; i < ROWS; i++) {
  for (let j = 0; j < COLS; j++) {
    floats(base, ROWS * COLS)[i * COLS + j] = Math.sin(i * 12.9898 + j * 78.233);
    floats(tuned, ROWS * COLS)[i * COLS + j] = floats(base, ROWS * COLS)[i * COLS + j]
      + 0.3 * Math.sin(i / 9) * Math.cos(j / 7) + 0.1 * Math.sin((i + j) / 3) + 0.01 * Math.sin(i * j);
  }
}

// Offsets of 32-bit targets, as ffi/src/sized.rs asserts: rank 4, mode 24; memory_bytes 4; energy 8, reads 36.
const [OPTIONS, PLAN, REPORT] = [40, 28, 48];
for (const [name, mode] of [["exact", 1], ["multi-read", 2], ["stream-once", 3]]) {
  check(wasm.phlora_options_init(options, OPTIONS));
  words(options, 10)[1] = RANK;
  words(options, 10)[6] = mode;
  check(wasm.phlora_plan_init(options, ROWS, COLS, plan, PLAN));
  const bytes = words(plan, 7)[1];
  check(wasm.phlora_start(options, ROWS, COLS, top, bytes, extractor));
  const x = words(extractor, 1)[0];
  while (wasm.phlora_wants_pass(x)) {
    const block = 16 * COLS * 4;
    for (let at = 0; at < ROWS * COLS * 4; at += block) check(wasm.phlora_push(x, base + at, block, 1, tuned + at, block, 1));
    check(wasm.phlora_end_pass(x));
  }
  check(wasm.phlora_finish(x, a, RANK * COLS, b, ROWS * RANK, sigma, RANK, report, REPORT));
  const energy = new DataView(wasm.memory.buffer).getFloat64(report + 8, true);
  let [all, rest] = [0, 0];
  for (let i = 0; i < ROWS; i++) {
    for (let j = 0; j < COLS; j++) {
      const delta = Math.fround(floats(tuned, ROWS * COLS)[i * COLS + j] - floats(base, ROWS * COLS)[i * COLS + j]);
      let left = delta;
      for (let k = 0; k < RANK; k++) left -= floats(b, ROWS * RANK)[i * RANK + k] * floats(a, RANK * COLS)[k * COLS + j];
      [all, rest] = [all + delta * delta, rest + left * left];
    }
  }
  const measured = 1 - rest / all;
  console.log(`${name} energy ${energy.toFixed(7)} measured ${measured.toFixed(7)} memory ${bytes}`);
  if (!(Math.abs(energy - measured) < 1e-5 && energy > 0.9)) throw new Error("the energy is not what the factors keep");
}
