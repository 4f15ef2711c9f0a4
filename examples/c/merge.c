/*
 * Writes a model with an adapter merged into its weights.
 *
 *   merge BASE ADAPTER SCALE MODEL
 */
#include <phlora.h>
#include <stdio.h>
#include <stdlib.h>

static char message[1024];

static int failed(phlora_status status) {
    if (status == PHLORA_STATUS_OK) return 0;
    fprintf(stderr, "%s: %s\n", phlora_status_name(status), message);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: merge BASE ADAPTER SCALE MODEL\n");
        return 2;
    }
    const char *adapters[1] = {argv[2]};
    const float scales[1] = {strtof(argv[3], NULL)};
    phlora_merge_options options = {0};
    phlora_merged merged;
    options.struct_size = sizeof options;
    options.scales = scales;
    if (failed(phlora_merge_files(argv[1], adapters, 1, argv[4], &options, &merged, sizeof merged, message, sizeof message)))
        return 1;
    printf("%llu weights in %zu files, %llu bytes\n", (unsigned long long)merged.weights, merged.files,
           (unsigned long long)merged.bytes);
    return 0;
}
