/*
 * Extracts an adapter of each of several fine-tunes of one base, which is read once for all of them.
 *
 *   several BASE TUNED ADAPTER [TUNED ADAPTER…]
 */
#include <phlora.h>
#include <stdio.h>

enum { MOST = 16 };

int main(int argc, char **argv) {
    static char message[4096];
    const char *tuned[MOST], *adapters[MOST];
    uint32_t statuses[MOST];
    phlora_file_report reports[MOST];
    phlora_file_options options;
    size_t count = (size_t)(argc - 2) / 2;
    if (argc < 4 || argc % 2 != 0 || count > MOST) {
        fprintf(stderr, "usage: several BASE TUNED ADAPTER [TUNED ADAPTER...]\n");
        return 2;
    }
    for (size_t i = 0; i < count; i++) {
        tuned[i] = argv[2 + 2 * i];
        adapters[i] = argv[3 + 2 * i];
    }
    if (phlora_file_options_init(&options, sizeof options) != PHLORA_STATUS_OK) return 1;
    options.rank = 4;
    phlora_status status = phlora_extract_several(argv[1], tuned, adapters, count, &options, statuses, reports,
                                                  sizeof reports[0], message, sizeof message);
    if (message[0]) fprintf(stderr, "%s\n", message);
    if (status != PHLORA_STATUS_OK) fprintf(stderr, "%s\n", phlora_status_name(status));
    if (status == PHLORA_STATUS_OK || reports[0].struct_size != 0)
        for (size_t i = 0; i < count; i++)
            if (statuses[i] == PHLORA_STATUS_OK)
                printf("%s: %llu modules, %.1f %% of the whole difference kept\n", adapters[i],
                       (unsigned long long)reports[i].modules, 100 * reports[i].whole_energy);
    return status == PHLORA_STATUS_OK ? 0 : 1;
}
