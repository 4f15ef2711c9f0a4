/*
 * Extracts an adapter from two models on disk, with a progress line, and measures what was written.
 *
 *   files BASE TUNED ADAPTER RANK
 */
#include <phlora.h>
#include <stdio.h>
#include <stdlib.h>

static uint32_t progress(void *user, uint64_t done, uint64_t total) {
    (void)user;
    fprintf(stderr, "\r%5.1f %%", total ? 100.0 * (double)done / (double)total : 0.0);
    return 0; /* anything else cancels */
}

int main(int argc, char **argv) {
    phlora_file_options options;
    phlora_file_report report;
    phlora_verification verification;
    char message[512];
    phlora_status status;

    if (argc != 5) {
        fprintf(stderr, "usage: files BASE TUNED ADAPTER RANK\n");
        return 2;
    }
    status = phlora_file_options_init(&options, sizeof options);
    if (status != PHLORA_STATUS_OK)
        return 1;
    options.rank = (size_t)strtoul(argv[4], NULL, 10);
    options.progress = progress;
    status = phlora_extract_files(argv[1], argv[2], argv[3], &options, &report, sizeof report,
                                  message, sizeof message);
    fprintf(stderr, "\n");
    if (status == PHLORA_STATUS_OK)
        status = phlora_verify_files(argv[1], argv[2], argv[3], NULL, &verification, sizeof verification,
                                     message, sizeof message);
    if (status != PHLORA_STATUS_OK) {
        fprintf(stderr, "%s: %s\n", phlora_status_name(status), message);
        return 1;
    }
    printf("%llu modules, %.2f %% kept, %.2f %% after rounding\n", (unsigned long long)report.modules,
           100.0 * report.energy, 100.0 * verification.energy);
    return 0;
}
