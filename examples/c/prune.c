/*
 * Writes an adapter at the smallest ranks that keep a share of each module.
 *
 *   prune ADAPTER OUTPUT SHARE
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
    if (argc != 4) {
        fprintf(stderr, "usage: prune ADAPTER OUTPUT SHARE\n");
        return 2;
    }
    phlora_prune_options options = {0};
    phlora_pruned pruned;
    options.struct_size = sizeof options;
    options.energy = strtod(argv[3], NULL);
    if (failed(phlora_prune_files(argv[1], argv[2], &options, &pruned, sizeof pruned, message, sizeof message)))
        return 1;
    printf("%llu modules of rank %zu at most, %.1f %% kept, %llu bytes\n", (unsigned long long)pruned.modules, pruned.rank,
           100 * pruned.energy, (unsigned long long)pruned.bytes);
    return 0;
}
