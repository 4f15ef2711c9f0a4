#!/usr/bin/env bash
# The core-only library on a Cortex-M4F: builds for nothing but `core`, links to a C program, runs it under QEMU,
# compares its energies with the host's, and holds code size, stack and memory to a budget. Proves on the linked
# program that neither std, alloc nor any formatting code is reachable.
set -euo pipefail
cd "$(dirname "$0")/.."

# Bytes of .text for the extraction: 52 KiB; of stack and of memory for a 64×64 layer at rank 4: about what it takes.
text_most=53248 stack_most=6144 memory_most=102400

bash .ci/apt.sh rustc-web cargo-web rust-web-src gcc gcc-arm-none-eabi libnewlib-arm-none-eabi libc6-dev
qemu=$(bash .ci/qemu-arm.sh)
die() { echo "cortex-m.sh: $*" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

library=$(CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc bash ffi/small.sh thumbv7em-none-eabihf staticlib)
machine=(-mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16)

# All functions of the library kept, nothing else: what is in there is what can be reached.
roots() { for name in "$@"; do printf -- '-Wl,-u,%s ' "$name"; done; }
core_symbols=$(grep -vE '_files?$|_file_|_to_gguf$|_several$|_split$|_part_' ffi/abi/symbols.txt)
extraction="phlora_options_init phlora_plan_init phlora_start phlora_wants_pass phlora_push phlora_end_pass phlora_finish"
# shellcheck disable=SC2054
bare=("${machine[@]}" -nostdlib -Wl,--gc-sections -Wl,-e,phlora_start -T examples/cortex-m/bare.ld)
# shellcheck disable=SC2046,SC2086
arm-none-eabi-gcc "${bare[@]}" $(roots $core_symbols) "$library" -o "$work/all.elf"
# shellcheck disable=SC2046,SC2086
arm-none-eabi-gcc "${bare[@]}" $(roots $extraction) "$library" -o "$work/extraction.elf"
arm-none-eabi-nm -C "$work/all.elf" >"$work/symbols"
for name in $core_symbols; do
  grep -q " T $name\$" "$work/symbols" || die "$name is not in the bare-metal library"
done
if grep -E '\b(std|alloc)::|core::fmt|core::panicking' "$work/symbols"; then
  die "code of std, of alloc, or for formatting can be reached"
fi
section() { arm-none-eabi-size -A "$1" | awk -v name="$2" '$1 == name { print $2 }'; }
text=$(section "$work/extraction.elf" .text)
echo "Cortex-M4F: extraction .text $text bytes (rodata $(section "$work/extraction.elf" .rodata)), all functions" \
  "$(section "$work/all.elf" .text)"
# shellcheck disable=SC2046
arm-none-eabi-gcc "${bare[@]}" -Wl,-e,phlora_forward $(roots phlora_forward phlora_forward_len phlora_adapter_check) "$library" -o "$work/forward.elf"
echo "Cortex-M4F: forward .text $(section "$work/forward.elf" .text) bytes"
[ "$text" -le "$text_most" ] || die ".text is over its budget of $text_most bytes"

arm-none-eabi-gcc "${machine[@]}" -O2 -ffunction-sections -nostartfiles --specs=rdimon.specs -Wall -Wextra -Iinclude \
  -T examples/cortex-m/link.ld -Wl,--gc-sections -Wl,--no-warn-execstack -Wl,--no-warn-rwx-segments \
  examples/cortex-m/startup.c examples/cortex-m/layer.c "$library" -lm -o "$work/layer.elf" 2>"$work/link" ||
  { cat "$work/link"; exit 1; }
# An adapter at work: returns 0 when beside the layer and merged into it agree.
arm-none-eabi-gcc "${machine[@]}" -O2 -ffunction-sections -nostartfiles --specs=rdimon.specs -Wall -Wextra -Iinclude \
  -T examples/cortex-m/link.ld -Wl,--gc-sections -Wl,--no-warn-execstack -Wl,--no-warn-rwx-segments \
  examples/cortex-m/startup.c examples/c/forward.c "$library" -lm -o "$work/applied.elf" 2>"$work/link" ||
  { cat "$work/link"; exit 1; }
# shellcheck disable=SC2086
timeout 120 $qemu -M mps2-an386 -nographic -semihosting-config enable=on,target=native -kernel "$work/applied.elf" ||
  die "the adapter does not work on the device"
# shellcheck disable=SC2086
timeout 120 $qemu -M mps2-an386 -nographic -semihosting-config enable=on,target=native -kernel "$work/layer.elf" \
  | tee "$work/device"

cargo rustc --locked --quiet -p phlora-ffi --lib --crate-type staticlib --target-dir "${CARGO_TARGET_DIR:-target}/c"
gcc -O2 -Iinclude examples/cortex-m/layer.c "${CARGO_TARGET_DIR:-target}/c/debug/libphlora_ffi.a" \
  -lgcc_s -lpthread -ldl -lm -o "$work/layer"
"$work/layer" >"$work/host"

# mode "energy" E "measured" M "reads" R "memory" B "stack" S: energies within 1e-5 of the host's.
paste -d ' ' "$work/device" "$work/host" | awk -v stack="$stack_most" -v memory="$memory_most" '
  NF != 22 || $1 != $12 { print "unexpected: " $0; bad = 1 }
  { off = $3 - $14; if (off < 0) off = -off }
  off > 1e-5 { print $1 ": energy " $3 " on the device, " $14 " on the host"; bad = 1 }
  $11 > stack { print $1 ": " $11 " bytes of stack, budget " stack; bad = 1 }
  $9 > memory { print $1 ": " $9 " bytes of memory, budget " memory; bad = 1 }
  END { if (NR != 3) { print NR " modes ran"; bad = 1 } exit bad }' || die "device and host differ, or a budget is exceeded"
