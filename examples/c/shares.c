/*
 * Does an extraction in two shares, as two machines would, and puts them together.
 *
 *   shares BASE TUNED ADAPTER
 */
#include <phlora.h>
#include <stdio.h>

static char message[1024];

static int failed(phlora_status status) {
    if (status == PHLORA_STATUS_OK) return 0;
    fprintf(stderr, "%s: %s\n", phlora_status_name(status), message);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: shares BASE TUNED ADAPTER\n");
        return 2;
    }
    char parts[2][512];
    const char *list[2] = {parts[0], parts[1]};
    phlora_file_options options;
    phlora_file_report report;
    for (size_t i = 0; i < 2; i++) {
        snprintf(parts[i], sizeof parts[i], "%s.%zu", argv[3], i + 1);
        if (failed(phlora_file_options_init(&options, sizeof options))) return 1;
        options.shard_index = i + 1;
        options.shard_count = 2;
        if (failed(phlora_extract_files(argv[1], argv[2], parts[i], &options, &report, sizeof report, message, sizeof message)))
            return 1;
        printf("share %zu of 2: %llu tensors are for the other\n", i + 1, (unsigned long long)report.missing);
    }
    if (failed(phlora_file_options_init(&options, sizeof options))) return 1;
    options.join = 1;
    options.parts = list;
    options.parts_len = 2;
    if (failed(phlora_extract_files(argv[1], argv[2], argv[3], &options, &report, sizeof report, message, sizeof message)))
        return 1;
    printf("%llu modules, %.1f %% kept\n", (unsigned long long)report.modules, 100 * report.energy);
    return 0;
}
