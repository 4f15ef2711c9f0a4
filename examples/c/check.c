/*
 * Finds what makes llama.cpp, or another program, refuse, crash on or ignore an adapter.
 *
 *   check ADAPTER BASE
 */
#include <phlora.h>
#include <stdio.h>

static char message[1024];

static int failed(phlora_status status) {
    if (status == PHLORA_STATUS_OK) return 0;
    fprintf(stderr, "%s: %s\n", phlora_status_name(status), message);
    return 1;
}

static void finding(void *user, const phlora_finding *of) {
    (void)user;
    printf("%s %s: %s: %s\n", of->severity == PHLORA_SEVERITY_ERROR ? "error" : "note", of->code,
           of->tensor ? of->tensor : "-", of->message);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: check ADAPTER BASE\n");
        return 2;
    }
    phlora_check_options options = {0};
    size_t errors;
    options.struct_size = sizeof options;
    options.finding = finding;
    options.consumer = PHLORA_CONSUMER_LLAMA_CPP;
    if (failed(phlora_check_files(argv[1], argv[2], &options, &errors, message, sizeof message)))
        return 1;
    printf("%zu errors\n", errors);
    return 0;
}
