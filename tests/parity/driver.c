/*
 * One job through the C ABI, its options by their names: what run.py compares with the command.
 *
 *   driver JOB INPUT… FIELD=VALUE…
 *
 * Numbers are decimal, lists have commas. Results go to standard output as JSON, with names and figures of the
 * command's.
 */
#include <phlora.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum type { SIZE, LONG, NUMBER, REAL, TEXT, TEXTS, SIZES, FLOATS };
struct field {
    const char *name;
    size_t at;
    enum type type;
};

static union {
    size_t struct_size;
    phlora_file_options extract;
    phlora_plan_options plan;
    phlora_choice_options choice;
    phlora_prune_options prune;
    phlora_merge_options merge;
    phlora_convert_options convert;
    phlora_verify_options verify;
    phlora_check_options check;
    phlora_diff_options diff;
} options;

#define RANKS(T)                                                                                                   \
    {"rank", offsetof(T, rank), SIZE}, {"max_rank", offsetof(T, max_rank), SIZE},                                  \
        {"multiple", offsetof(T, multiple), SIZE}, {"energy", offsetof(T, energy), REAL},                          \
        {"total_energy", offsetof(T, total_energy), REAL},                                                         \
        {"budget", offsetof(T, budget), LONG}, {"criterion", offsetof(T, criterion), NUMBER},                      \
        {"noise_floor", offsetof(T, noise_floor), NUMBER}, {"uniform", offsetof(T, uniform), NUMBER},              \
        {"dtype", offsetof(T, dtype), NUMBER}
#define MODULES(T)                                                                                                 \
    {"include", offsetof(T, include), TEXTS}, {"exclude", offsetof(T, exclude), TEXTS},                            \
        {"channel_scale", offsetof(T, channel_scale), TEXT}, {"tolerance", offsetof(T, tolerance), REAL},          \
        {"threads", offsetof(T, threads), SIZE}, {"max_memory", offsetof(T, max_memory), SIZE},                    \
        {"report_path", offsetof(T, report_path), TEXT}, {"force", offsetof(T, force), NUMBER}
#define FIELD(T, name, type) {#name, offsetof(T, name), type}

static const struct field extract_fields[] = {
    RANKS(phlora_file_options),
    MODULES(phlora_file_options),
    FIELD(phlora_file_options, ranks, SIZES),
    FIELD(phlora_file_options, chunk_bytes, SIZE),
    FIELD(phlora_file_options, prefix, TEXT),
    FIELD(phlora_file_options, deployed_base, TEXT),
    FIELD(phlora_file_options, shard_index, SIZE),
    FIELD(phlora_file_options, shard_count, SIZE),
    FIELD(phlora_file_options, parts, TEXTS),
    FIELD(phlora_file_options, token_energy, REAL),
    FIELD(phlora_file_options, mode, NUMBER),
    FIELD(phlora_file_options, max_reads, NUMBER),
    FIELD(phlora_file_options, format, NUMBER),
    FIELD(phlora_file_options, also, NUMBER),
    FIELD(phlora_file_options, names, NUMBER),
    FIELD(phlora_file_options, server, NUMBER),
    FIELD(phlora_file_options, join, NUMBER),
    FIELD(phlora_file_options, resume, NUMBER),
    FIELD(phlora_file_options, fresh, NUMBER),
    FIELD(phlora_file_options, dry_run, NUMBER),
    FIELD(phlora_file_options, base_name, TEXT),
    FIELD(phlora_file_options, save_module, TEXTS),
    FIELD(phlora_file_options, total_memory, SIZE),
    {NULL, 0, SIZE}};
static const struct field plan_fields[] = {
    MODULES(phlora_plan_options),
    FIELD(phlora_plan_options, max_rank, SIZE),
    FIELD(phlora_plan_options, dtype, NUMBER),
    FIELD(phlora_plan_options, format, NUMBER),
    FIELD(phlora_plan_options, criterion, NUMBER),
    {NULL, 0, SIZE}};
static const struct field choice_fields[] = {RANKS(phlora_choice_options), {NULL, 0, SIZE}};
static const struct field prune_fields[] = {
    RANKS(phlora_prune_options),
    FIELD(phlora_prune_options, drop_below, REAL),
    FIELD(phlora_prune_options, sv_ratio, REAL),
    FIELD(phlora_prune_options, sv_fro, REAL),
    FIELD(phlora_prune_options, sv_cumulative, REAL),
    FIELD(phlora_prune_options, sv_epsilon, REAL),
    FIELD(phlora_prune_options, conv_rank, NUMBER),
    FIELD(phlora_prune_options, threads, SIZE),
    FIELD(phlora_prune_options, force, NUMBER),
    {NULL, 0, SIZE}};
static const struct field merge_fields[] = {
    FIELD(phlora_merge_options, scales, FLOATS),
    FIELD(phlora_merge_options, threads, SIZE),
    FIELD(phlora_merge_options, force, NUMBER),
    {NULL, 0, SIZE}};
static const struct field convert_fields[] = {
    FIELD(phlora_convert_options, base, TEXT),
    FIELD(phlora_convert_options, prefix, TEXT),
    FIELD(phlora_convert_options, architecture, TEXT),
    FIELD(phlora_convert_options, heads, SIZE),
    FIELD(phlora_convert_options, kv_heads, SIZE),
    FIELD(phlora_convert_options, format, NUMBER),
    FIELD(phlora_convert_options, names, NUMBER),
    FIELD(phlora_convert_options, dtype, NUMBER),
    FIELD(phlora_convert_options, force, NUMBER),
    {NULL, 0, SIZE}};
static const struct field verify_fields[] = {
    FIELD(phlora_verify_options, threads, SIZE),
    FIELD(phlora_verify_options, channel_scale, TEXT),
    {NULL, 0, SIZE}};
static const struct field check_fields[] = {FIELD(phlora_check_options, consumer, NUMBER), {NULL, 0, SIZE}};
static const struct field diff_fields[] = {
    MODULES(phlora_diff_options),
    FIELD(phlora_diff_options, max_rank, SIZE),
    FIELD(phlora_diff_options, base, TEXT),
    {NULL, 0, SIZE}};
static const struct field no_fields[] = {{NULL, 0, SIZE}};

static char message[4096];

static void die(const char *problem, const char *what) {
    fprintf(stderr, "driver: %s %s\n", problem, what);
    exit(2);
}

static size_t items(const char *text) {
    size_t count = 1;
    for (; *text; text++) count += *text == ',';
    return count;
}

/* The list of a field, with its length in the field behind it where there is one. */
static void set_list(const struct field *field, char *text) {
    void *at = (char *)&options + field->at;
    size_t count = items(text), i = 0;
    char **texts = calloc(count, sizeof *texts);
    size_t *sizes = calloc(count, sizeof *sizes);
    float *floats = calloc(count, sizeof *floats);
    if (!texts || !sizes || !floats) die("no memory for", field->name);
    for (char *item = strtok(text, ","); item; item = strtok(NULL, ","), i++) {
        texts[i] = item;
        sizes[i] = (size_t)strtoull(item, NULL, 10);
        floats[i] = strtof(item, NULL);
    }
    if (field->type == TEXTS) memcpy(at, &texts, sizeof texts);
    if (field->type == SIZES) memcpy(at, &sizes, sizeof sizes);
    if (field->type == FLOATS) memcpy(at, &floats, sizeof floats);
    else memcpy((char *)at + sizeof(void *), &count, sizeof count);
}

static void set(const struct field *fields, char *pair) {
    char *value = strchr(pair, '=');
    void *at;
    *value++ = 0;
    while (fields->name && strcmp(fields->name, pair) != 0) fields++;
    if (!fields->name) die("no field", pair);
    at = (char *)&options + fields->at;
    switch (fields->type) {
    case SIZE: { size_t number = (size_t)strtoull(value, NULL, 10); memcpy(at, &number, sizeof number); break; }
    case LONG: { uint64_t number = strtoull(value, NULL, 10); memcpy(at, &number, sizeof number); break; }
    case NUMBER: { uint32_t number = (uint32_t)strtoul(value, NULL, 10); memcpy(at, &number, sizeof number); break; }
    case REAL: { double number = strtod(value, NULL); memcpy(at, &number, sizeof number); break; }
    case TEXT: memcpy(at, &value, sizeof value); break;
    default: set_list(fields, value);
    }
}

/* -- results as JSON ---------------------------------------------------------------------------------------------- */
static int shown;

static void text(const char *name, const char *value) {
    printf("\"%s\": \"", name);
    for (; *value; value++) printf(*value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
    printf("\"");
}
static void module(void *user, const phlora_module *of) {
    (void)user;
    printf("%s{", shown++ ? ", " : "\"modules\": [");
    text("name", of->name);
    printf(", \"rank\": %zu, \"energy\": %.17g, \"delta_norm\": %.17g}", of->rank, of->energy, of->delta_norm);
}
static void finding(void *user, const phlora_finding *of) {
    static const char *const severities[] = {"", "note", "warning", "error"};
    static const char *const repairs[] = {"", "peft", "gguf", "kohya", "mlx", "checkpoint-names", "memory-names"};
    (void)user;
    printf("%s{", shown++ ? ", " : "");
    text("code", of->code);
    printf(", ");
    text("severity", severities[of->severity]);
    printf(", ");
    if (of->tensor) {
        text("tensor", of->tensor);
        printf(", ");
    }
    if (of->repair == PHLORA_REPAIR_ONE_RANK) {
        printf("\"repair\": {\"one-rank\": %zu}, ", of->repair_rank);
    } else if (of->repair != PHLORA_REPAIR_NONE) {
        text("repair", repairs[of->repair]);
        printf(", ");
    }
    text("message", of->message);
    printf("}");
}
static void difference(void *user, const phlora_difference *of) {
    printf("%s{", shown++ ? ", " : "");
    text("name", of->name);
    printf(", ");
    text("kind", of->kind);
    if (*(const int *)user)
        printf(", \"distance\": %.17g, \"ranks\": [%zu, %zu], \"norms\": [%.17g, %.17g], \"cosine\": %.17g, "
               "\"shared\": [%.17g, %.17g], \"by_chance\": %.17g}", of->distance, of->ranks[0], of->ranks[1], of->norms[0],
               of->norms[1], of->cosine, of->shared[0], of->shared[1], of->by_chance);
    else
        printf(", \"delta_norm\": %.17g, \"share\": %.17g}", of->distance, of->share);
}

/* -- jobs --------------------------------------------------------------------------------------------------------- */
static char *in[64];
static size_t ins;
static phlora_file_report reports[8];

static phlora_status extract(void) {
    phlora_status status = phlora_extract_files(in[0], in[1], in[2], &options.extract, reports, sizeof reports[0], message,
                                                sizeof message);
    if (status == PHLORA_STATUS_OK && options.extract.dry_run)
        printf("{\"adapters\": [{\"bytes\": %llu}]}\n", (unsigned long long)reports[0].bytes_out);
    return status;
}
/* BASE, the fine-tunes, then as many adapters. */
static phlora_status several(void) {
    static uint32_t statuses[8];
    const char *const *tuned = (const char *const *)in + 1;
    size_t count = (ins - 1) / 2;
    phlora_status status = phlora_extract_several(in[0], tuned, tuned + count, count, &options.extract, statuses, reports,
                                                  sizeof reports[0], message, sizeof message);
    for (size_t i = 0; status == PHLORA_STATUS_OK && i < count; i++)
        if (statuses[i] != PHLORA_STATUS_OK || reports[i].modules == 0) die("no adapter of", tuned[i]);
    if (status == PHLORA_STATUS_OK && !options.extract.dry_run) {
        printf("{\"adapters\": [");
        for (size_t i = 0; i < count; i++)
            printf("%s{\"report\": {\"total\": {\"energy\": %.17g}}}", i ? ", " : "", reports[i].energy);
        printf("]}\n");
    }
    return status;
}
static phlora_status plan(void) {
    return phlora_plan_files(in[0], in[1], &options.plan, reports, sizeof reports[0], message, sizeof message);
}
static phlora_status choice(void) {
    phlora_choice choice;
    phlora_status status = phlora_choice_file(in[0], &options.choice, &choice, sizeof choice, message, sizeof message);
    if (status == PHLORA_STATUS_OK)
        printf("{\"bytes\": %llu, \"energy\": %.17g}\n", (unsigned long long)choice.bytes, choice.energy);
    return status;
}
static phlora_status prune(void) {
    phlora_pruned pruned;
    return phlora_prune_files(in[0], in[1], &options.prune, &pruned, sizeof pruned, message, sizeof message);
}
static phlora_status merge(void) {
    phlora_merged merged;
    return phlora_merge_files(in[0], (const char *const *)in + 1, ins - 2, in[ins - 1], &options.merge, &merged,
                              sizeof merged, message, sizeof message);
}
static phlora_status convert(void) {
    phlora_converted converted;
    return phlora_convert_files(in[0], in[1], &options.convert, &converted, sizeof converted, message, sizeof message);
}
static phlora_status verify(void) {
    phlora_verification found;
    phlora_status status;
    options.verify.module = module;
    printf("{");
    status = phlora_verify_files(in[0], in[1], in[2], &options.verify, &found, sizeof found, message, sizeof message);
    if (status == PHLORA_STATUS_OK)
        printf("], \"energy\": %.17g, \"sum_squares\": %.17g, \"outside\": %llu, \"outside_sum_squares\": %.17g, "
               "\"whole_energy\": %.17g}\n", found.energy, found.sum_squares, (unsigned long long)found.outside,
               found.outside_sum_squares, found.whole_energy);
    return status;
}
static phlora_status check(void) {
    size_t errors;
    phlora_status status;
    options.check.finding = finding;
    printf("[");
    status = phlora_check_files(in[0], in[1], &options.check, &errors, message, sizeof message);
    printf("]\n");
    return status;
}
static phlora_status diff(void) {
    static int adapters;
    phlora_diff found;
    phlora_status status;
    phlora_contents contents;
    adapters = phlora_inspect_file(in[0], &contents, sizeof contents, NULL, 0) == PHLORA_STATUS_OK &&
               contents.kind == PHLORA_CONTENTS_KIND_ADAPTER;
    options.diff.difference = difference;
    options.diff.user = &adapters;
    printf(adapters ? "{\"modules\": [" : "{\"diff\": {\"tensors\": [");
    status = phlora_diff_files(in[0], in[1], &options.diff, &found, sizeof found, message, sizeof message);
    if (status == PHLORA_STATUS_OK && adapters)
        printf("], \"total\": {\"norms\": [%.17g, %.17g], \"distance\": %.17g, \"cosine\": %.17g, \"shared\": [%.17g, %.17g], "
               "\"by_chance\": %.17g}}\n", found.norms[0], found.norms[1], found.distance, found.cosine, found.shared[0],
               found.shared[1], found.by_chance);
    else if (status == PHLORA_STATUS_OK)
        printf("], \"unchanged\": %llu, \"not_compared\": %llu}}\n", (unsigned long long)found.unchanged,
               (unsigned long long)found.not_compared);
    return status;
}
static phlora_status inspect(void) {
    static const char *const kinds[] = {"", "model", "adapter", "report"};
    phlora_contents contents;
    phlora_status status = phlora_inspect_file(in[0], &contents, sizeof contents, message, sizeof message);
    if (status == PHLORA_STATUS_OK)
        printf("{\"kind\": \"%s\", \"%s\": {\"tensors\": %llu, \"weights\": %llu, \"bytes\": %llu}}\n",
               kinds[contents.kind], contents.kind == PHLORA_CONTENTS_KIND_ADAPTER ? "factors" : "total",
               (unsigned long long)contents.tensors, (unsigned long long)contents.parameters,
               (unsigned long long)contents.bytes);
    return status;
}
static phlora_status page(void) { return phlora_page_file(in[0], in[1], ins > 2, message, sizeof message); }

static const struct job {
    const char *name;
    size_t struct_size;
    const struct field *fields;
    phlora_status (*run)(void);
} jobs[] = {
    {"extract", sizeof(phlora_file_options), extract_fields, extract},
    {"several", sizeof(phlora_file_options), extract_fields, several},
    {"plan", sizeof(phlora_plan_options), plan_fields, plan},
    {"choice", sizeof(phlora_choice_options), choice_fields, choice},
    {"prune", sizeof(phlora_prune_options), prune_fields, prune},
    {"merge", sizeof(phlora_merge_options), merge_fields, merge},
    {"convert", sizeof(phlora_convert_options), convert_fields, convert},
    {"verify", sizeof(phlora_verify_options), verify_fields, verify},
    {"check", sizeof(phlora_check_options), check_fields, check},
    {"diff", sizeof(phlora_diff_options), diff_fields, diff},
    {"inspect", sizeof(size_t), no_fields, inspect},
    {"page", sizeof(size_t), no_fields, page},
};

int main(int argc, char **argv) {
    for (size_t i = 0; argc > 1 && i < sizeof jobs / sizeof *jobs; i++) {
        phlora_status status;
        if (strcmp(jobs[i].name, argv[1]) != 0) continue;
        options.struct_size = jobs[i].struct_size;
        for (int k = 2; k < argc; k++) {
            if (strcmp(argv[k], "read_files=1") == 0) phlora_read_files(1);
            else if (strchr(argv[k], '=')) set(jobs[i].fields, argv[k]);
            else if (ins < 60) in[ins++] = argv[k];
        }
        status = jobs[i].run();
        if (message[0]) fprintf(stderr, "%s\n", message);
        if (status != PHLORA_STATUS_OK) die("refused:", phlora_status_name(status));
        return 0;
    }
    die("no job", argc > 1 ? argv[1] : "");
}
