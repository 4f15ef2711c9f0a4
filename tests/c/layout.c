/* Sizes and offsets of the structs as C sees them on 64-bit targets; ffi/src/sized.rs asserts the same in Rust. */
#include "phlora.h"

#define SIZE(type, bytes) typedef char size_of_##type[sizeof(type) == (bytes) ? 1 : -1]
#define OFFSET(type, field, bytes) typedef char offset_of_##type##_##field[offsetof(type, field) == (bytes) ? 1 : -1]

SIZE(phlora_options, 56);
OFFSET(phlora_options, rank, 8);
OFFSET(phlora_options, max_memory, 16);
OFFSET(phlora_options, parts, 24);
OFFSET(phlora_options, tolerance, 32);
OFFSET(phlora_options, mode, 40);
OFFSET(phlora_options, kernel, 52);
SIZE(phlora_plan, 48);
OFFSET(phlora_plan, memory_bytes, 8);
OFFSET(phlora_plan, max_reads, 44);
SIZE(phlora_measurements, 40);
OFFSET(phlora_measurements, reads, 36);
SIZE(phlora_report, 56);
OFFSET(phlora_report, energy, 16);
OFFSET(phlora_report, converged, 52);
SIZE(phlora_svd_info, 32);
OFFSET(phlora_svd_info, converged, 28);
SIZE(phlora_adapter, 80);
OFFSET(phlora_adapter, a, 32);
OFFSET(phlora_adapter, reserved, 76);
SIZE(phlora_assignment, 12);
SIZE(phlora_usage, 48);
OFFSET(phlora_usage, capacity, 40);
SIZE(phlora_inputs, 32);
OFFSET(phlora_inputs, dtype, 24);
SIZE(phlora_outputs, 32);
SIZE(phlora_combined, 48);
OFFSET(phlora_combined, converged, 44);
SIZE(phlora_file_options, 328);
OFFSET(phlora_file_options, rank, 64);
OFFSET(phlora_file_options, include, 104);
OFFSET(phlora_file_options, save_module, 136);
OFFSET(phlora_file_options, report_path, 184);
OFFSET(phlora_file_options, energy, 224);
OFFSET(phlora_file_options, total_energy, 232);
OFFSET(phlora_file_options, budget, 256);
OFFSET(phlora_file_options, criterion, 264);
OFFSET(phlora_file_options, fresh, 316);
SIZE(phlora_file_report, 120);
OFFSET(phlora_file_report, missing, 104);
SIZE(phlora_plan_options, 128);
OFFSET(phlora_plan_options, force, 124);
SIZE(phlora_choice_options, 72);
SIZE(phlora_choice, 48);
OFFSET(phlora_choice, known, 40);
SIZE(phlora_prune_options, 152);
OFFSET(phlora_prune_options, sv_ratio, 80);
OFFSET(phlora_prune_options, drop_below, 112);
OFFSET(phlora_prune_options, force, 144);
SIZE(phlora_pruned, 48);
SIZE(phlora_merge_options, 48);
OFFSET(phlora_merge_options, force, 40);
SIZE(phlora_merged, 40);
SIZE(phlora_convert_options, 80);
OFFSET(phlora_convert_options, force, 76);
SIZE(phlora_converted, 48);
SIZE(phlora_verify_options, 48);
SIZE(phlora_verification, 80);
OFFSET(phlora_verification, whole_energy, 64);
SIZE(phlora_check_options, 40);
OFFSET(phlora_check_options, consumer, 32);
SIZE(phlora_finding, 48);
OFFSET(phlora_finding, severity, 40);
SIZE(phlora_diff_options, 128);
OFFSET(phlora_diff_options, tolerance, 112);
SIZE(phlora_diff, 96);
OFFSET(phlora_diff, kind, 88);
SIZE(phlora_difference, 168);
SIZE(phlora_module, 80);
OFFSET(phlora_module, energy, 64);
SIZE(phlora_contents, 72);
OFFSET(phlora_contents, files, 68);
SIZE(phlora_adapter_module, 120);
OFFSET(phlora_adapter_module, weight, 88);
OFFSET(phlora_adapter_module, embedding, 112);
SIZE(phlora_status, 4);

int main(void) { return 0; }
