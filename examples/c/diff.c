/*
 * Says how two models, or two adapters of one base, differ.
 *
 *   diff FIRST SECOND
 */
#include <phlora.h>
#include <stdio.h>

static char message[1024];

static int failed(phlora_status status) {
    if (status == PHLORA_STATUS_OK) return 0;
    fprintf(stderr, "%s: %s\n", phlora_status_name(status), message);
    return 1;
}

static void difference(void *user, const phlora_difference *of) {
    int *left = user;
    if ((*left)-- > 0) printf("%s: ||second - first|| = %.4f\n", of->name, of->distance);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: diff FIRST SECOND\n");
        return 2;
    }
    phlora_diff_options options = {0};
    phlora_diff found;
    int listed = 5;
    options.struct_size = sizeof options;
    options.max_rank = 16;
    options.difference = difference;
    options.user = &listed;
    if (failed(phlora_diff_files(argv[1], argv[2], &options, &found, sizeof found, message, sizeof message)))
        return 1;
    if (found.kind == PHLORA_CONTENTS_KIND_ADAPTER)
        printf("%zu modules in common, cosine %.3f\n", found.differing, found.cosine);
    else
        printf("%zu tensors differ, %llu do not\n", found.differing, (unsigned long long)found.unchanged);
    return 0;
}
