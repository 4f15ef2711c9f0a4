/*
 * Says what a file or directory holds: a model, an adapter or a report.
 *
 *   inspect PATH
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
    if (argc != 2) {
        fprintf(stderr, "usage: inspect PATH\n");
        return 2;
    }
    static const char *const kinds[] = {"", "a model", "an adapter", "a report"};
    phlora_contents contents;
    if (failed(phlora_inspect_file(argv[1], &contents, sizeof contents, message, sizeof message)))
        return 1;
    printf("%s: %llu weights in %llu tensors, %llu bytes\n", kinds[contents.kind], (unsigned long long)contents.parameters,
           (unsigned long long)contents.tensors, (unsigned long long)contents.bytes);
    return 0;
}
