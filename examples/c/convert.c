/*
 * Writes an adapter as a GGUF file of its base, and makes the same bytes in memory, as for llama.cpp through a FILE *.
 *
 *   convert ADAPTER BASE OUTPUT.gguf
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
        fprintf(stderr, "usage: convert ADAPTER BASE OUTPUT.gguf\n");
        return 2;
    }
    phlora_convert_options options = {0};
    phlora_converted converted;
    size_t length;
    void *gguf;
    options.struct_size = sizeof options;
    options.base = argv[2];
    options.format = PHLORA_ADAPTER_FORMAT_GGUF;
    if (failed(phlora_convert_files(argv[1], argv[3], &options, &converted, sizeof converted, message, sizeof message))
        || failed(phlora_convert_to_gguf(argv[1], &options, NULL, 0, &length, message, sizeof message)))
        return 1;
    gguf = malloc(length);
    if (gguf == NULL || failed(phlora_convert_to_gguf(argv[1], &options, gguf, length, &length, message, sizeof message)))
        return 1;
    printf("%llu modules of rank %zu, %llu bytes in the file, %zu in memory\n", (unsigned long long)converted.modules,
           converted.rank, (unsigned long long)converted.bytes, length);
    free(gguf);
    return 0;
}
