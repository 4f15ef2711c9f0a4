/* The file functions on one file, as an inference host calls them: any status is fine, a signal is not.
 *
 *     host FILE BASE TUNED ADAPTER OUTPUT
 */
#include "phlora.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char message[4096];
static int wrong;

static void told(const char *name, phlora_status status) {
    if (memchr(message, 0, sizeof message) == NULL) {
        printf("%s: its message does not end\n", name);
        wrong = 1;
    }
    if (status == PHLORA_STATUS_INTERNAL) {
        printf("%s: %s\n", name, message);
        wrong = 1;
    }
    if (status != PHLORA_STATUS_OK && message[0] == 0) {
        printf("%s: %s without a word\n", name, phlora_status_name(status));
        wrong = 1;
    }
}

static void diff(const char *first, const char *second) {
    phlora_diff found;
    told("diff", phlora_diff_files(first, second, NULL, &found, sizeof found, message, sizeof message));
}

static void check(const char *adapter, const char *base) {
    size_t errors = 0;
    told("check", phlora_check_files(adapter, base, NULL, &errors, message, sizeof message));
}

int main(int argc, char **argv) {
    phlora_file_options options;
    phlora_file_report report;
    phlora_verification verification;
    phlora_contents contents;
    phlora_convert_options convert;
    phlora_converted done;
    phlora_pruned pruned;
    phlora_merged merged;
    phlora_choice choice;
    const char *list[] = {argc > 1 ? argv[1] : NULL};
    size_t length = 0;
    void *gguf;
    char path[4096];

    if (argc != 6)
        return 2;
    told("inspect", phlora_inspect_file(argv[1], &contents, sizeof contents, message, sizeof message));
    check(argv[1], argv[2]);
    check(argv[4], argv[1]);
    diff(argv[1], argv[2]);
    diff(argv[4], argv[1]);

    phlora_file_options_init(&options, sizeof options);
    options.rank = 2;
    snprintf(path, sizeof path, "%s-1", argv[5]);
    told("extract", phlora_extract_files(argv[2], argv[1], path, &options, &report, sizeof report,
                                         message, sizeof message));
    snprintf(path, sizeof path, "%s-2", argv[5]);
    told("extract", phlora_extract_files(argv[1], argv[3], path, &options, &report, sizeof report,
                                         message, sizeof message));
    told("verify", phlora_verify_files(argv[2], argv[3], argv[1], NULL, &verification,
                                       sizeof verification, message, sizeof message));

    memset(&convert, 0, sizeof convert);
    convert.struct_size = sizeof convert;
    convert.base = argv[2];
    snprintf(path, sizeof path, "%s-3.gguf", argv[5]);
    told("convert", phlora_convert_files(argv[1], path, &convert, &done, sizeof done, message, sizeof message));
    snprintf(path, sizeof path, "%s-4", argv[5]);
    told("convert", phlora_convert_files(argv[1], path, &convert, &done, sizeof done, message, sizeof message));
    if (phlora_convert_to_gguf(argv[1], &convert, NULL, 0, &length, message, sizeof message) == PHLORA_STATUS_OK) {
        gguf = malloc(length);
        if (gguf == NULL)
            return 2;
        told("convert", phlora_convert_to_gguf(argv[1], &convert, gguf, length, &length, message, sizeof message));
        free(gguf);
    }
    snprintf(path, sizeof path, "%s-5", argv[5]);
    told("prune", phlora_prune_files(argv[1], path, NULL, &pruned, sizeof pruned, message, sizeof message));
    snprintf(path, sizeof path, "%s-6", argv[5]);
    told("merge", phlora_merge_files(argv[2], list, 1, path, NULL, &merged, sizeof merged, message, sizeof message));
    told("plan", phlora_plan_files(argv[2], argv[1], NULL, &report, sizeof report, message, sizeof message));
    told("choice", phlora_choice_file(argv[1], NULL, &choice, sizeof choice, message, sizeof message));
    snprintf(path, sizeof path, "%s-7.html", argv[5]);
    told("page", phlora_page_file(argv[1], path, 0, message, sizeof message));
    return wrong ? 3 : 0;
}
