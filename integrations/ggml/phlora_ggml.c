/* The adapters of one model: see phlora_ggml.h. */
#include "phlora_ggml_internal.h"
#include <ggml-backend.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 8 };

bool phlora_ggml_refuse(char *to, size_t len, const char *format, ...) {
    va_list args;
    if (!to || len == 0)
        return false;
    va_start(args, format);
    vsnprintf(to, len, format, args);
    va_end(args);
    return false;
}

void *phlora_ggml_grow(void *old, size_t *cap, size_t len, size_t size) {
    size_t next = *cap ? *cap : 16;
    void *more;
    if (old && len <= *cap)
        return old;
    while (next < len)
        next *= 2;
    more = realloc(old, next * size);
    if (more)
        *cap = next;
    return more;
}

struct phlora_ggml *phlora_ggml_new(void) {
    return calloc(1, sizeof(struct phlora_ggml));
}

void phlora_ggml_free(struct phlora_ggml *set) {
    size_t i;
    if (!set)
        return;
    for (i = 0; i < set->slots; i++)
        if (set->adapters[i]) {
            set->adapters[i]->pins = 0;
            phlora_ggml_close(set->adapters[i]);
        }
    for (i = 0; i < set->weights_len; i++) {
        phlora_ggml_stack_free(&set->weights[i]->stack);
        free(set->weights[i]->slots);
        free(set->weights[i]);
    }
    free(set->weights);
    free(set->table);
    free(set->adapters);
    free(set);
}

static size_t place(const struct phlora_ggml *set, const struct ggml_tensor *tensor) {
    return ((size_t)(uintptr_t)tensor >> 4) * 0x9E3779B1u & (set->table_len - 1);
}

static void put(struct phlora_ggml *set, struct weight *weight) {
    size_t at = place(set, weight->tensor);
    while (set->table[at])
        at = (at + 1) & (set->table_len - 1);
    set->table[at] = weight;
}

struct weight *phlora_ggml_find(const struct phlora_ggml *set, const struct ggml_tensor *tensor) {
    size_t at;
    if (set->table_len == 0)
        return NULL;
    for (at = place(set, tensor); set->table[at]; at = (at + 1) & (set->table_len - 1))
        if (set->table[at]->tensor == tensor)
            return set->table[at];
    return NULL;
}

bool phlora_ggml_on_device(const struct ggml_tensor *tensor) {
    ggml_backend_buffer_type_t type;
    ggml_backend_dev_t device;
    if (!tensor->buffer || ggml_backend_buffer_is_host(tensor->buffer))
        return false;
    type = ggml_backend_buffer_get_type(tensor->buffer);
    device = ggml_backend_buft_get_device(type);
    return !device || (ggml_backend_dev_type(device) != GGML_BACKEND_DEVICE_TYPE_CPU &&
                       ggml_backend_dev_type(device) != GGML_BACKEND_DEVICE_TYPE_ACCEL);
}

bool phlora_ggml_add_weight(struct phlora_ggml *set, const struct ggml_tensor *tensor, const char *refused) {
    struct weight *weight, **weights;
    size_t i;
    if (!tensor->name[0])
        return false;
    weights = phlora_ggml_grow(set->weights, &set->weights_cap, set->weights_len + 1, sizeof *weights);
    if (!weights)
        return false;
    set->weights = weights;
    if (2 * (set->weights_len + 1) > set->table_len) {
        size_t len = set->table_len ? 2 * set->table_len : 64;
        struct weight **table = calloc(len, sizeof *table);
        if (!table)
            return false;
        free(set->table);
        set->table = table;
        set->table_len = len;
        for (i = 0; i < set->weights_len; i++)
            put(set, set->weights[i]);
    }
    weight = calloc(1, sizeof *weight);
    if (!weight)
        return false;
    weight->tensor = tensor;
    weight->refused = refused;
    weight->experts = tensor->ne[2] > 1 ? (size_t)tensor->ne[2] : 0;
    weight->index = set->weights_len;
    if (set->slots > 0 && !(weight->slots = calloc(set->slots, sizeof *weight->slots))) {
        free(weight);
        return false;
    }
    set->weights[set->weights_len++] = weight;
    put(set, weight);
    return true;
}

/* A free slot; SIZE_MAX: no memory. */
static size_t slot(struct phlora_ggml *set) {
    size_t i, len = set->slots ? 2 * set->slots : FIRST_SLOTS;
    struct phlora_ggml_adapter **adapters;
    for (i = 0; i < set->slots; i++)
        if (!set->adapters[i])
            return i;
    adapters = realloc(set->adapters, len * sizeof *adapters);
    if (!adapters)
        return SIZE_MAX;
    set->adapters = adapters;
    for (i = 0; i < set->weights_len; i++) {
        struct phlora_adapter **slots = realloc(set->weights[i]->slots, len * sizeof *slots);
        if (!slots)
            return SIZE_MAX;
        memset(slots + set->slots, 0, (len - set->slots) * sizeof *slots);
        set->weights[i]->slots = slots;
    }
    memset(adapters + set->slots, 0, (len - set->slots) * sizeof *adapters);
    i = set->slots;
    set->slots = len;
    set->generation++; /* stacks are longer now */
    return i;
}

static struct weight *named(const struct phlora_ggml *set, const char *name) {
    size_t i;
    for (i = 0; i < set->weights_len; i++)
        if (strcmp(set->weights[i]->tensor->name, name) == 0)
            return set->weights[i];
    return NULL;
}

/* Whether a batch takes these factors. */
static phlora_status usable(const struct phlora_adapter *factors) {
    static _Alignas(PHLORA_ALIGNMENT) unsigned char memory[4096];
    struct phlora_batch *batch;
    return phlora_batch_init(factors->rows, factors->cols, 1, &factors, 1, NULL, 0, memory, sizeof memory, &batch);
}

/* Puts one module where the weight finds it; what is wrong with it is said. */
static bool take(struct phlora_ggml_adapter *adapter, const struct phlora_adapter_module *module, const char *path,
                 char *message, size_t message_len) {
    const struct phlora_adapter *factors = &module->factors;
    struct weight *weight = named(adapter->set, module->weight);
    struct phlora_adapter **into;
    phlora_status status;
    if (!weight)
        return phlora_ggml_refuse(message, message_len,
                                  "%s: %s: the model has no such tensor; an adapter that is no GGUF file needs `base`, the model's",
                                  path, module->weight);
    if (weight->refused)
        return phlora_ggml_refuse(message, message_len, "%s: %s: %s", path, module->weight, weight->refused);
    if (module->embedding)
        return phlora_ggml_refuse(message, message_len, "%s: %s: a lookup table is no product, and not supported", path,
                                  module->weight);
    if ((size_t)weight->tensor->ne[0] != factors->cols || (size_t)weight->tensor->ne[1] != factors->rows ||
        weight->experts != (module->experts > 1 ? module->experts : 0) || weight->tensor->ne[3] != 1)
        return phlora_ggml_refuse(message, message_len,
                                  "%s: %s: its factors are for %zu x %zu (%zu experts), the model's tensor is %lld x %lld (%zu)",
                                  path, module->weight, factors->rows, factors->cols, module->experts,
                                  (long long)weight->tensor->ne[1], (long long)weight->tensor->ne[0], weight->experts);
    status = usable(factors);
    if (status != PHLORA_STATUS_OK)
        return phlora_ggml_refuse(message, message_len, "%s: %s: %s", path, module->weight, phlora_status_message(status));
    into = &weight->slots[adapter->slot];
    if (!*into && !(*into = calloc(weight->experts ? weight->experts : 1, sizeof **into)))
        return phlora_ggml_refuse(message, message_len, "%s: no memory", path);
    (*into)[module->expert] = *factors;
    return true;
}

/* What a graph has to know of the adapter's weights. */
static bool settle(struct phlora_ggml_adapter *adapter) {
    struct phlora_ggml *set = adapter->set;
    bool done = true;
    size_t i, e;
    for (i = 0; i < set->weights_len; i++) {
        struct weight *weight = set->weights[i];
        struct phlora_adapter *own = weight->slots[adapter->slot];
        bool changes = own && weight->users == 0;
        if (!own)
            continue;
        for (e = 0; e < (weight->experts ? weight->experts : 1); e++) {
            bool wide = own[e].rank > 0 && (own[e].a_dtype != PHLORA_DTYPE_F16 || own[e].b_dtype != PHLORA_DTYPE_F16);
            changes = changes || own[e].rank > weight->max_rank || (wide && !weight->wide);
            weight->max_rank = own[e].rank > weight->max_rank ? own[e].rank : weight->max_rank;
            weight->wide = weight->wide || wide;
        }
        weight->users++;
        set->generation += changes;
        if (!changes && weight->stack.a)
            done = phlora_ggml_stack_write(weight, adapter->slot) && done;
    }
    return done;
}

struct phlora_ggml_adapter *phlora_ggml_open(struct phlora_ggml *set, const char *path, const char *base, char *message,
                                             size_t message_len) {
    struct phlora_ggml_adapter *adapter = calloc(1, sizeof *adapter);
    size_t modules = 0, i, bytes = phlora_adapter_file_bytes();
    bool sound = true;
    if (!adapter || (adapter->slot = slot(set)) == SIZE_MAX ||
        !(adapter->memory = aligned_alloc(PHLORA_ALIGNMENT, (bytes + PHLORA_ALIGNMENT - 1) / PHLORA_ALIGNMENT * PHLORA_ALIGNMENT))) {
        phlora_ggml_refuse(message, message_len, "%s: no memory", path);
        free(adapter);
        return NULL;
    }
    adapter->set = set;
    if (phlora_adapter_file_open(path, base, 0, adapter->memory, bytes, &adapter->file, &modules, message, message_len) !=
        PHLORA_STATUS_OK) {
        free(adapter->memory);
        free(adapter);
        return NULL;
    }
    set->adapters[adapter->slot] = adapter;
    for (i = 0; i < modules && sound; i++) {
        struct phlora_adapter_module module;
        sound = phlora_adapter_file_module(adapter->file, i, &module, sizeof module) == PHLORA_STATUS_OK &&
                take(adapter, &module, path, message, message_len);
    }
    if (!sound) {
        for (i = 0; i < set->weights_len; i++) {
            free(set->weights[i]->slots[adapter->slot]);
            set->weights[i]->slots[adapter->slot] = NULL;
        }
        set->adapters[adapter->slot] = NULL;
        phlora_adapter_file_close(adapter->file);
        free(adapter->memory);
        free(adapter);
        return NULL;
    }
    if (!settle(adapter)) {
        phlora_ggml_close(adapter);
        phlora_ggml_refuse(message, message_len, "%s: no memory", path);
        return NULL;
    }
    return adapter;
}

bool phlora_ggml_close(struct phlora_ggml_adapter *adapter) {
    struct phlora_ggml *set = adapter->set;
    size_t i;
    if (adapter->pins > 0)
        return false;
    for (i = 0; i < set->weights_len; i++) {
        struct weight *weight = set->weights[i];
        if (!weight->slots[adapter->slot])
            continue;
        free(weight->slots[adapter->slot]);
        weight->slots[adapter->slot] = NULL;
        weight->users--;
    }
    set->adapters[adapter->slot] = NULL;
    phlora_adapter_file_close(adapter->file);
    free(adapter->memory);
    free(adapter);
    return true;
}

uint64_t phlora_ggml_generation(const struct phlora_ggml *set) {
    return set->generation;
}

size_t phlora_ggml_nodes(const struct phlora_ggml *set) {
    enum { OF_A_WEIGHT = 16 };
    size_t i, count = 0;
    for (i = 0; i < set->weights_len; i++)
        count += set->weights[i]->users > 0;
    return count * OF_A_WEIGHT;
}
