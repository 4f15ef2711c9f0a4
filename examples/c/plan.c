/*
 * Finds what ranks and bytes would keep of two models, writes it as a report, draws the report as a page, and says what
 * a budget in bytes would come to.
 *
 *   plan BASE TUNED REPORT.json PAGE.html BYTES
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

static void module(void *user, const phlora_module *of) {
    (void)user;
    printf("%s: %zu x %zu, largest singular value %.3g\n", of->name, of->rows, of->cols,
           of->singular_values_len ? (double)of->singular_values[0] : 0.0);
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: plan BASE TUNED REPORT.json PAGE.html BYTES\n");
        return 2;
    }
    phlora_plan_options options = {0};
    phlora_choice_options choice_options = {0};
    phlora_file_report report;
    phlora_choice choice;
    options.struct_size = sizeof options;
    options.module = module;
    options.report_path = argv[3];
    choice_options.struct_size = sizeof choice_options;
    choice_options.budget = strtoull(argv[5], NULL, 10);
    if (failed(phlora_plan_files(argv[1], argv[2], &options, &report, sizeof report, message, sizeof message))
        || failed(phlora_page_file(argv[3], argv[4], 0, message, sizeof message))
        || failed(phlora_choice_file(argv[3], &choice_options, &choice, sizeof choice, message, sizeof message)))
        return 1;
    printf("%llu modules; %llu bytes keep %.1f %%, at ranks %zu to %zu\n", (unsigned long long)report.modules,
           (unsigned long long)choice.bytes, 100 * choice.energy, choice.lowest_rank, choice.highest_rank);
    return 0;
}
