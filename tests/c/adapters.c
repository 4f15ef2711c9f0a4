/* An adapter as GGUF through the C ABI: written, checked against a base, converted in files and in memory.
 * usage: adapters BASE TUNED DIRECTORY */
#include <phlora.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char message[512];
static int failures;

static void expect(int holds, const char *what) {
    if (holds) return;
    printf("not so: %s (%s)\n", what, message);
    failures++;
}

struct found { int all, unknown; };

static void finding(void *user, const phlora_finding *one) {
    struct found *found = user;
    found->all++;
    found->unknown += one->severity == PHLORA_SEVERITY_ERROR && strcmp(one->code, "unknown-tensor") == 0 &&
                      one->tensor && *one->message;
}

/* Opens an adapter and gives the sum of all entries of all factors, decoded, or of its module `name` alone. */
static double sum_of(const char *path, const char *base, uint32_t read, const char *name, size_t *modules) {
    void *memory = aligned_alloc(PHLORA_ALIGNMENT, phlora_adapter_file_bytes());
    phlora_adapter_file *file = NULL;
    double sum = 0;
    size_t i, k;
    expect(memory && phlora_adapter_file_open(path, base, read, memory, phlora_adapter_file_bytes(), &file, modules,
                                              message, sizeof message) == PHLORA_STATUS_OK, "an adapter is opened");
    for (i = 0; file && i < *modules; i++) {
        phlora_adapter_module module;
        float *values;
        expect(phlora_adapter_file_module(file, i, &module, sizeof module) == PHLORA_STATUS_OK
                   && module.struct_size == sizeof module && phlora_adapter_check(&module.factors) == PHLORA_STATUS_OK
                   && module.experts == 0 && module.embedding == 0, "a module and its factors");
        values = malloc(module.factors.rank * module.factors.rows * sizeof *values);
        expect(values && phlora_decode(module.factors.b, module.factors.b_bytes, module.factors.b_dtype, values,
                                       module.factors.rank * module.factors.rows) == PHLORA_STATUS_OK, "lora_b");
        for (k = 0; values && (!name || strcmp(name, module.weight) == 0) && k < module.factors.rank * module.factors.rows; k++)
            sum += module.factors.scale * values[k] * (double)(1 + k % 97);
        free(values);
    }
    if (file) {
        phlora_adapter_module module;
        expect(phlora_adapter_file_module(file, *modules, &module, sizeof module) == PHLORA_STATUS_UNKNOWN_ADAPTER,
               "there are no more modules");
        expect(phlora_adapter_file_close(file) == PHLORA_STATUS_OK, "it is closed");
        expect(phlora_adapter_file_close(file) == PHLORA_STATUS_OUT_OF_ORDER
                   && phlora_adapter_file_module(file, 0, &module, sizeof module) == PHLORA_STATUS_OUT_OF_ORDER,
               "closed is closed");
    }
    free(memory);
    return sum;
}

static void open_files(const char *gguf, const char *peft, const char *base) {
    size_t mapped = 0, read = 0, converted = 0, own = 0;
    double sum = sum_of(gguf, NULL, 0, NULL, &mapped);
    phlora_adapter_file *file = NULL;
    void *memory = aligned_alloc(PHLORA_ALIGNMENT, phlora_adapter_file_bytes());
    expect(sum != 0 && sum == sum_of(gguf, NULL, 1, NULL, &read) && mapped == 28 && read == 28, "mapped and read are the same");
    expect(sum == sum_of(peft, base, 0, NULL, &converted) && converted == 28, "a PEFT directory in the base's GGUF names and rows");
    expect(sum != sum_of(peft, NULL, 0, NULL, &own) && own == 28, "without a base, rows are PEFT's");
    expect(sum_of(gguf, NULL, 0, "blk.0.attn_q.weight", &own) != 0
               && sum_of(peft, NULL, 0, "model.layers.0.self_attn.q_proj.weight", &own) != 0, "names of tensors");
    expect(phlora_adapter_file_open("no/such/adapter", NULL, 0, memory, phlora_adapter_file_bytes(), &file, &own, message,
                                    sizeof message) == PHLORA_STATUS_IO && !file && strstr(message, "no/such/adapter"),
           "an adapter that is not there is named");
    expect(phlora_adapter_file_open(gguf, NULL, 0, memory, phlora_adapter_file_bytes() - 1, &file, &own, message,
                                    sizeof message) == PHLORA_STATUS_MEMORY_TOO_SMALL && !file, "too little memory");
    free(memory);
}

int main(int argc, char **argv) {
    char gguf[1024], peft[1024], back[1024], compact[1024];
    phlora_file_options options;
    phlora_file_report report;
    phlora_contents contents;
    phlora_verification verification;
    struct found found = {0, 0};
    size_t errors = 99, length = 0, again = 0;
    phlora_convert_options convert;
    phlora_check_options check;
    phlora_converted done;
    unsigned char *bytes;
    FILE *file;

    if (argc != 4) return 2;
    snprintf(gguf, sizeof gguf, "%s/adapter.gguf", argv[3]);
    snprintf(peft, sizeof peft, "%s/peft", argv[3]);
    snprintf(back, sizeof back, "%s/back.gguf", argv[3]);
    snprintf(compact, sizeof compact, "%s/adapter.phlora", argv[3]);
    phlora_file_options_init(&options, sizeof options);
    options.rank = 4;
    memset(&convert, 0, sizeof convert);
    convert.struct_size = sizeof convert;
    convert.base = argv[1];
    memset(&check, 0, sizeof check);
    check.struct_size = sizeof check;
    check.finding = finding;
    check.user = &found;
    expect(phlora_extract_files(argv[1], argv[2], gguf, &options, &report, sizeof report, message, sizeof message) == PHLORA_STATUS_OK, "a GGUF adapter is extracted");
    options.format = 77;
    expect(phlora_extract_files(argv[1], argv[2], peft, &options, &report, sizeof report, message, sizeof message) == PHLORA_STATUS_UNKNOWN_VALUE, "format 77 is unknown");
    expect(phlora_convert_files(gguf, peft, &convert, &done, sizeof done, message, sizeof message)
               == PHLORA_STATUS_OK, "it becomes a PEFT directory");
    expect(phlora_convert_files(peft, back, &convert, &done, sizeof done, message, sizeof message)
               == PHLORA_STATUS_OK, "and a GGUF file again");
    expect(phlora_convert_files(peft, back, &convert, &done, sizeof done, message, sizeof message)
               == PHLORA_STATUS_EXISTS, "which is not replaced");

    expect(phlora_convert_to_gguf(peft, &convert, NULL, 0, &length, message, sizeof message) == PHLORA_STATUS_OK
               && length > 0, "the length of a GGUF adapter in memory");
    bytes = calloc(2, length);
    if (!bytes) return 2;
    expect(phlora_convert_to_gguf(peft, &convert, bytes, length - 1, &again, message, sizeof message)
               == PHLORA_STATUS_OUTPUT_LENGTH && again == 0, "a buffer of another length is refused");
    expect(phlora_convert_to_gguf(peft, &convert, bytes, length, &again, message, sizeof message)
               == PHLORA_STATUS_OK && again == length, "the adapter in memory");
    file = fopen(back, "rb");
    expect(file && fread(bytes + length, 1, length, file) == length && fgetc(file) == EOF
               && memcmp(bytes, bytes + length, length) == 0, "memory and file hold the same bytes");
    if (file) fclose(file);
    free(bytes);

    open_files(gguf, peft, argv[1]);
    expect(phlora_check_files(gguf, argv[1], &check, &errors, message, sizeof message) == PHLORA_STATUS_OK
               && errors == 0, "nothing is wrong with it");
    found.all = 0;
    expect(phlora_check_files(gguf, gguf, &check, &errors, message, sizeof message) == PHLORA_STATUS_OK
               && errors > 0 && found.unknown > 0 && found.all >= found.unknown, "the wrong base is found");
    errors = 99;
    expect(phlora_check_files(NULL, gguf, NULL, &errors, message, sizeof message)
               == PHLORA_STATUS_NULL_POINTER && errors == 99, "no adapter, no answer");
    expect(phlora_check_files(gguf, "no/such/base", NULL, &errors, message, sizeof message) == PHLORA_STATUS_IO
               && errors == 99 && strstr(message, "no/such/base"), "a base that is not there is named");

    options.format = PHLORA_ADAPTER_FORMAT_AUTO;
    expect(phlora_extract_files(argv[1], argv[2], compact, &options, &report, sizeof report, message, sizeof message) == PHLORA_STATUS_OK, "an adapter in the compact form is extracted");
    expect(phlora_inspect_file(compact, &contents, sizeof contents, message, sizeof message) == PHLORA_STATUS_OK
               && contents.kind == PHLORA_CONTENTS_KIND_ADAPTER && contents.rank == 4
               && contents.bytes < report.bytes_out, "it is one of rank 4");
    expect(phlora_verify_files(argv[1], argv[2], compact, NULL, &verification, sizeof verification, message,
                               sizeof message) == PHLORA_STATUS_OK && verification.energy > 0, "it keeps something");
    length = 0;
    expect(phlora_convert_to_gguf(compact, &convert, NULL, 0, &length, message, sizeof message) == PHLORA_STATUS_OK
               && length > contents.bytes, "a GGUF adapter in memory is made of it");
    return failures != 0;
}
