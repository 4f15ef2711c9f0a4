/*
 * Opens an adapter of any format to use its factors, which are mapped where the file allows it.
 *
 *   open ADAPTER
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
    if (argc != 2) {
        fprintf(stderr, "usage: open ADAPTER\n");
        return 2;
    }
    void *memory = aligned_alloc(PHLORA_ALIGNMENT, phlora_adapter_file_bytes());
    phlora_adapter_file *file;
    phlora_adapter_module module;
    size_t modules, weights = 0;
    if (memory == NULL || failed(phlora_adapter_file_open(argv[1], NULL, 0, memory, phlora_adapter_file_bytes(), &file,
                                                          &modules, message, sizeof message)))
        return 1;
    for (size_t i = 0; i < modules; i++) {
        if (failed(phlora_adapter_file_module(file, i, &module, sizeof module))) return 1;
        weights += module.factors.rank * (module.factors.rows + module.factors.cols);
    }
    printf("%zu modules, %zu weights; the last is %s\n", modules, weights, modules ? module.weight : "-");
    if (failed(phlora_adapter_file_close(file))) return 1;
    free(memory);
    return 0;
}
