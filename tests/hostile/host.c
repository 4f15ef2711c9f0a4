/* The file functions on one file, as an inference host would call them: every status is fine, no signal is. */
#include "phlora.h"
#include <stdio.h>
#include <string.h>

static char message[4096];

static void told(const char *name, phlora_status status) {
    if (strlen(message) + 1 > sizeof message)
        message[0] = 0;
    printf("%s: %s\n", name, phlora_status_name(status));
}

static void finding(void *user, const phlora_finding *found) {
    (void)user;
    (void)found;
}

int main(int argc, char **argv) {
    phlora_file_options options;
    phlora_file_report report;
    phlora_verification verification;
    phlora_contents contents;
    size_t bytes = 0;
    char path[4096];

    if (argc != 6)
        return 2;
    (void)finding;
    told("inspect", phlora_inspect_file(argv[1], &contents, sizeof contents, message, sizeof message));
    phlora_file_options_init(&options, sizeof options);
    options.rank = 2;
    snprintf(path, sizeof path, "%s-1", argv[5]);
    told("extract", phlora_extract_files(argv[2], argv[1], path, &options, NULL, NULL, &report, sizeof report, message,
                                         sizeof message));
    told("verify", phlora_verify_files(argv[2], argv[3], argv[1], NULL, NULL, &verification, sizeof verification, message,
                                       sizeof message));
    (void)bytes;
    return 0;
}
