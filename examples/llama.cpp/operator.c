/* See operator.h. libllama calls ggml_mul_mat for each weight of the model; as this program exports a function of that
 * name, the dynamic linker binds libllama to it. It makes the same node with the real one, and adds one more where an
 * adapter has factors for the weight: a custom operator that adds s·B·(A·x) in place. */
#define _GNU_SOURCE
#include "operator.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <ggml.h>
#include <gguf.h>
#include <math.h>
#include <phlora.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_ADAPTERS = 16, MOST_MODULES = 4096, MOST_THREADS = 256, NAME = 64, BATCH = 1024 };

/* What the adapters have for one weight. */
struct module {
    char weight[NAME];
    const struct ggml_tensor *tensor; /* the model's, once a graph has multiplied it */
    struct phlora_adapter factors[MOST_ADAPTERS]; /* rank 0: this adapter leaves the weight alone */
};

static struct module *modules[MOST_MODULES];
static size_t modules_len;
static float strength[MOST_ADAPTERS];
static int adapters_len;
static float *scratch[MOST_THREADS];
static size_t scratch_len, most_tokens, most_threads;
static _Alignas(PHLORA_ALIGNMENT) unsigned char memory[MOST_THREADS][BATCH]; /* the phlora_batch of each thread */

static int refuse(const char *file, const char *tensor, const char *problem) {
    fprintf(stderr, "operator: %s: %s%s%s\n", file, tensor, *tensor ? ": " : "", problem);
    return -1;
}

static struct module *find(const char *weight) {
    size_t i;
    for (i = 0; i < modules_len; i++)
        if (strcmp(modules[i]->weight, weight) == 0)
            return modules[i];
    return NULL;
}

static int dtype(enum ggml_type type, uint32_t *out) {
    switch (type) {
    case GGML_TYPE_F32: *out = PHLORA_DTYPE_F32; return 1;
    case GGML_TYPE_F16: *out = PHLORA_DTYPE_F16; return 1;
    case GGML_TYPE_BF16: *out = PHLORA_DTYPE_BF16; return 1;
    case GGML_TYPE_Q8_0: *out = PHLORA_DTYPE_Q8_0; return 1;
    default: return 0;
    }
}

/* An adapter's file, mapped. */
struct file {
    const char *path;
    const char *bytes;
    size_t size;
    struct gguf_context *gguf;
    struct ggml_context *tensors; /* without data */
};

static void close_file(struct file *file) {
    if (file->bytes)
        munmap((void *)(size_t)file->bytes, file->size);
    if (file->gguf)
        gguf_free(file->gguf);
    if (file->tensors)
        ggml_free(file->tensors);
}

static int open_file(struct file *file, const char *path) {
    struct gguf_init_params params = {true, &file->tensors};
    struct stat stat;
    int descriptor = open(path, O_RDONLY);
    void *bytes = MAP_FAILED;
    memset(file, 0, sizeof *file);
    file->path = path;
    if (descriptor >= 0 && fstat(descriptor, &stat) == 0 && stat.st_size > 0)
        bytes = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (descriptor >= 0)
        close(descriptor);
    if (bytes == MAP_FAILED)
        return refuse(path, "", "cannot be mapped");
    file->bytes = bytes;
    file->size = (size_t)stat.st_size;
    file->gguf = gguf_init_from_file(path, params);
    if (file->gguf)
        return 0;
    close_file(file);
    return refuse(path, "", "no GGUF file");
}

/* Where a tensor's bytes are; NULL where the file ends before. */
static const void *data(const struct file *file, const char *name, size_t *size) {
    int64_t id = gguf_find_tensor(file->gguf, name);
    size_t start = gguf_get_data_offset(file->gguf) + gguf_get_tensor_offset(file->gguf, id);
    *size = gguf_get_tensor_size(file->gguf, id);
    return start <= file->size && *size <= file->size - start ? file->bytes + start : NULL;
}

/* The pair of tensors whose first is `a`, as an adapter of phlora. */
static int pair(const struct file *file, struct ggml_tensor *a, float alpha, struct phlora_adapter *out, char *weight) {
    const char *path = file->path;
    static const char END[] = ".lora_a";
    size_t length = strlen(a->name) - (sizeof END - 1);
    char name[NAME];
    struct ggml_tensor *b;
    phlora_status status;

    memcpy(weight, a->name, length);
    weight[length] = 0;
    memcpy(name, a->name, strlen(a->name) + 1);
    name[strlen(name) - 1] = 'b';
    b = ggml_get_tensor(file->tensors, name);
    if (!b)
        return refuse(path, a->name, "its lora_b is missing");
    if (a->ne[2] != 1 || b->ne[2] != 1)
        return refuse(path, a->name, "experts are not supported");
    if (strcmp(weight, "token_embd.weight") == 0)
        return refuse(path, a->name, "a lookup table is no product, and not supported");
    if (a->ne[1] != b->ne[0])
        return refuse(path, a->name, "its rank is not that of its lora_b");
    memset(out, 0, sizeof *out);
    out->struct_size = sizeof *out;
    out->rows = (size_t)b->ne[1];
    out->cols = (size_t)a->ne[0];
    out->rank = (size_t)a->ne[1];
    out->a = data(file, a->name, &out->a_bytes);
    out->b = data(file, b->name, &out->b_bytes);
    if (!out->a || !out->b)
        return refuse(path, a->name, "the file ends within its factors");
    out->scale = alpha != 0 ? alpha / (float)out->rank : 1;
    if (!dtype(a->type, &out->a_dtype) || !dtype(b->type, &out->b_dtype))
        return refuse(path, a->name, "its type is not f32, f16, bf16 or q8_0");
    status = phlora_adapter_check(out);
    return status == PHLORA_STATUS_OK ? 0 : refuse(path, a->name, phlora_status_name(status));
}

int operator_load(const char *path) {
    struct file file;
    struct ggml_tensor *tensor = NULL;
    struct phlora_adapter *found;
    char (*weights)[NAME];
    float alpha = 0;
    int64_t key, at;
    size_t len = 0, i, fresh = 0;

    if (adapters_len == MOST_ADAPTERS)
        return refuse(path, "", "too many adapters");
    if (open_file(&file, path) != 0)
        return -1;
    key = gguf_find_key(file.gguf, "adapter.lora.alpha");
    if (key >= 0 && gguf_get_kv_type(file.gguf, key) == GGUF_TYPE_FLOAT32)
        alpha = gguf_get_val_f32(file.gguf, key);
    found = malloc(MOST_MODULES * sizeof *found);
    weights = malloc(MOST_MODULES * sizeof *weights);
    if (!found || !weights)
        return refuse(path, "", "no memory");
    for (at = 0; at < gguf_get_n_tensors(file.gguf); at++) {
        const char *end;
        tensor = ggml_get_tensor(file.tensors, gguf_get_tensor_name(file.gguf, at));
        end = strrchr(tensor->name, '.');
        if (!end || (strcmp(end, ".lora_a") != 0 && strcmp(end, ".lora_b") != 0) || len == MOST_MODULES)
            goto failed;
        if (strcmp(end, ".lora_b") == 0)
            continue;
        if (pair(&file, tensor, alpha, &found[len], weights[len]) != 0)
            goto freed;
        fresh += !find(weights[len]);
        len++;
    }
    if (len == 0 || modules_len + fresh > MOST_MODULES)
        goto failed;
    /* Everything is sound: only now is anything of it used. */
    for (i = 0; i < len; i++) {
        struct module *module = find(weights[i]);
        if (!module) {
            module = calloc(1, sizeof *module);
            if (!module)
                abort();
            memcpy(module->weight, weights[i], NAME);
            modules[modules_len++] = module;
        }
        module->factors[adapters_len] = found[i];
    }
    free(found);
    free(weights);
    /* The bytes stay mapped for as long as the program runs. */
    gguf_free(file.gguf);
    ggml_free(file.tensors);
    return adapters_len++;
failed:
    refuse(path, tensor ? tensor->name : "", "no adapter that can be used: too many modules, or none, or another tensor");
freed:
    free(found);
    free(weights);
    close_file(&file);
    return -1;
}

int operator_check(const char *model_path) {
    struct gguf_init_params params = {true, NULL};
    struct gguf_context *gguf = gguf_init_from_file(model_path, params);
    size_t i;
    int adapter, result = 0;
    if (!gguf)
        return refuse(model_path, "", "no GGUF file");
    for (i = 0; i < modules_len && result == 0; i++) {
        static const char WEIGHT[] = "weight", SCALE[] = "scale";
        int64_t id = gguf_find_tensor(gguf, modules[i]->weight);
        char scale[NAME + sizeof SCALE];
        char *end = strrchr(strcpy(scale, modules[i]->weight), '.');
        if (end && strcmp(end + 1, WEIGHT) == 0 && strcpy(end + 1, SCALE) && gguf_find_tensor(gguf, scale) >= 0)
            result = refuse(model_path, modules[i]->weight,
                            "the model scales its product, and would scale what an adapter has added to it");
        if (id < 0)
            result = refuse(model_path, modules[i]->weight, "an adapter has factors for it, but the model lacks it");
        for (adapter = 0; adapter < adapters_len && result == 0; adapter++) {
            const struct phlora_adapter *factors = &modules[i]->factors[adapter];
            const int64_t *ne = gguf_get_tensor_ne(gguf, id);
            if (factors->rank > 0 && (ne[0] != (int64_t)factors->cols || ne[1] != (int64_t)factors->rows || ne[2] != 1))
                result = refuse(model_path, modules[i]->weight, "its shape is not that of an adapter's factors");
        }
    }
    gguf_free(gguf);
    return result;
}

int operator_prepare(size_t tokens, size_t threads) {
    size_t i, needed = 1;
    int adapter;
    if (threads > MOST_THREADS)
        return refuse("prepare", "", "too many threads");
    for (i = 0; i < modules_len; i++)
        for (adapter = 0; adapter < adapters_len; adapter++) {
            const struct phlora_adapter *one = &modules[i]->factors[adapter];
            phlora_batch *batch;
            phlora_status status;
            if (one->rank == 0)
                continue;
            status = phlora_batch_init(one->rows, one->cols, tokens, &one, 1, NULL, 0, memory[0], BATCH, &batch);
            if (status != PHLORA_STATUS_OK)
                return refuse("prepare", modules[i]->weight, phlora_status_name(status));
            if (phlora_batch_work(batch, threads) > needed)
                needed = phlora_batch_work(batch, threads);
        }
    for (i = 0; i < threads; i++) {
        free(scratch[i]);
        scratch[i] = malloc(needed * sizeof *scratch[i]);
        if (!scratch[i])
            return refuse("prepare", "", "no memory");
    }
    scratch_len = needed;
    most_tokens = tokens;
    most_threads = threads;
    return 0;
}

int operator_use(int adapter, float scale) {
    if (adapter < 0 || adapter >= adapters_len || !isfinite(scale))
        return refuse("use", "", "no such adapter, or no finite scale");
    strength[adapter] = scale;
    return 0;
}

/* y += Σ s·B·(A·x) for the rows of slice `ith` of `nth`: dst is y, in place. Without a barrier in between, each thread
 * computes all of A·x. Neither allocates nor unwinds. */
static void apply(struct ggml_tensor *dst, const struct ggml_tensor *y, const struct ggml_tensor *x, int ith, int nth,
                  void *userdata) {
    const struct module *module = userdata;
    size_t tokens = (size_t)x->ne[1];
    int adapter;
    (void)y;
    if (tokens > most_tokens || (size_t)nth > most_threads)
        GGML_ABORT("operator_prepare was called for fewer tokens or threads");
    for (adapter = 0; adapter < adapters_len; adapter++) {
        struct phlora_adapter one = module->factors[adapter];
        const struct phlora_adapter *list = &one;
        size_t stride = dst->nb[1] / sizeof(float), x_stride = x->nb[1] / sizeof(float);
        phlora_inputs in = {x->data, ((tokens - 1) * x_stride + one.cols) * sizeof(float), x_stride, PHLORA_DTYPE_F32, 0};
        phlora_outputs out = {dst->data, ((tokens - 1) * stride + one.rows) * sizeof(float), stride, PHLORA_DTYPE_F32, 0};
        phlora_batch *batch;
        phlora_status status;
        if (one.rank == 0 || strength[adapter] == 0)
            continue;
        one.scale *= strength[adapter];
        status = phlora_batch_init(one.rows, one.cols, tokens, &list, 1, NULL, 0, memory[ith], BATCH, &batch);
        if (status == PHLORA_STATUS_OK)
            status = phlora_batch_down(batch, &in, 0, 1, scratch[ith], scratch_len);
        if (status == PHLORA_STATUS_OK)
            status = phlora_batch_up(batch, &out, (size_t)ith, (size_t)nth, scratch[ith], scratch_len);
        if (status != PHLORA_STATUS_OK)
            GGML_ABORT("%s: %s", module->weight, phlora_status_name(status));
    }
}

/* In the place of ggml's own, for libllama. */
struct ggml_tensor *ggml_mul_mat(struct ggml_context *ctx, struct ggml_tensor *a, struct ggml_tensor *b) {
    typedef struct ggml_tensor *(*product)(struct ggml_context *, struct ggml_tensor *, struct ggml_tensor *);
    static product real;
    struct ggml_tensor *result;
    struct module *module;
    int adapter;
    if (!real) {
        /* A function from a pointer to data, the way POSIX has it. */
        *(void **)&real = dlsym(RTLD_NEXT, "ggml_mul_mat");
        if (!real)
            GGML_ABORT("no ggml_mul_mat behind this one");
    }
    result = real(ctx, a, b);
    module = modules_len > 0 ? find(a->name) : NULL;
    if (!module)
        return result;
    /* Names say nothing of the model: another one in this process may have the same. */
    if (!module->tensor)
        module->tensor = a;
    for (adapter = 0; adapter < adapters_len; adapter++)
        if (module->factors[adapter].rank > 0 && ((size_t)a->ne[0] != module->factors[adapter].cols ||
                                                  (size_t)a->ne[1] != module->factors[adapter].rows))
            GGML_ABORT("%s: its shape is not that of an adapter's factors: a second model? Adapters work in one alone",
                       module->weight);
    if (module->tensor != a)
        GGML_ABORT("%s: a second model has a tensor of this name; adapters work in one alone", module->weight);
    if (b->type != GGML_TYPE_F32 || result->ne[2] != 1 || result->ne[3] != 1 || b->nb[0] != sizeof(float))
        GGML_ABORT("%s: inputs of another form than f32 vectors", module->weight);
    return ggml_map_custom2_inplace(ctx, result, b, apply, GGML_N_TASKS_MAX, module);
}
