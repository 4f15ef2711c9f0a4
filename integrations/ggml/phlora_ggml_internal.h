/* What the files of phlora_ggml share. */
#ifndef PHLORA_GGML_INTERNAL_H
#define PHLORA_GGML_INTERNAL_H

#include "phlora_ggml.h"
#include <phlora.h>
#include <stdarg.h>

enum { PROBLEM = 512 };

/* Factors of all adapters for one weight, side by side for ggml_mul_mat_id; matrix 0 is zero. */
struct stack {
    struct ggml_context *ctx;
    struct ggml_backend_buffer *buffer;
    struct ggml_tensor *a, *b; /* [cols, rank, matrices], [rank, rows, matrices] */
};

struct weight {
    const struct ggml_tensor *tensor;
    const char *refused;
    size_t index, experts;          /* experts: 0 for a matrix */
    struct phlora_adapter **slots;  /* by slot of the adapter: NULL, or one per expert */
    size_t users, max_rank;
    bool wide;                      /* some factor is not f16: the stack holds f32 */
    struct stack stack;
};

struct phlora_ggml {
    struct weight **weights;
    size_t weights_len, weights_cap;
    struct weight **table; /* by address of the tensor, a power of two long, at most half full */
    size_t table_len;
    struct phlora_ggml_adapter **adapters; /* by slot */
    size_t slots;
    uint64_t generation;
};

struct phlora_ggml_adapter {
    struct phlora_ggml *set;
    size_t slot, pins;
    void *memory;
    struct phlora_adapter_file *file;
};

/* Who uses what, in the order of phlora_group: assignments whose adapter is a key, and what each key stands for. */
struct uses {
    size_t keys, len;
    const uint32_t *slot, *expert; /* by key; expert NULL: all 0 */
    const struct phlora_assignment *list;
};

/* The uses of a batch by rows of one kind: tokens, or output rows. */
struct rows {
    int64_t count;
    struct phlora_assignment *list;
    uint32_t *slot;
    size_t len, cap, keys, keys_cap;
    /* For stacked factors, in the graph built last: which matrix of the stack, how strongly; [width, count]. */
    struct ggml_tensor *ids, *strengths;
};

/* A weight in the graphs of a router. */
struct site {
    struct phlora_ggml_router *router;
    struct weight *weight;
    /* By kind of rows: whether the graph built last multiplies them, and how the batch uses adapters there. */
    struct prepared {
        bool wanted;
        struct phlora_batch *batch; /* NULL: nothing to add */
        void *memory;
        size_t memory_len;
    } prepared[2];
};

struct use {
    uint32_t token, slot;
    float weight;
};

struct phlora_ggml_router {
    struct phlora_ggml *set;
    int threads, width, graph_width;
    bool stacked;
    uint64_t graph_generation;
    int64_t graph_tokens, graph_outputs;
    struct site **sites; /* by index of the weight */
    size_t sites_len;
    struct rows rows[2]; /* tokens, output rows */
    struct use *uses;
    size_t uses_len, uses_cap;
    int64_t tokens;
    /* Of the graph in work: the last experts that were grouped. */
    struct ggml_tensor *ids, *grouped;
    size_t grouped_experts;
    char problem[PROBLEM];  /* of the graph in work */
    char failure[PROBLEM];  /* of a computation */
};

/* Writes to `to`, unless it is NULL or 0 long; gives false. */
bool phlora_ggml_refuse(char *to, size_t len, const char *format, ...)
#ifdef __GNUC__
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* Room for `len` elements of `size` at least; NULL: no memory, and the old is as it was. */
void *phlora_ggml_grow(void *old, size_t *cap, size_t len, size_t size);

/* Bytes of a batch of that many keys, and its preparation there, for one layer; *batch NULL: nothing to add. */
size_t phlora_ggml_batch_len(size_t keys);
phlora_status phlora_ggml_prepare(const struct weight *weight, const struct uses *uses, size_t rows, void *memory, size_t len,
                                  struct phlora_batch **batch);

struct weight *phlora_ggml_find(const struct phlora_ggml *set, const struct ggml_tensor *tensor);

/* Whether its products are computed by a device that has memory of its own. */
bool phlora_ggml_on_device(const struct ggml_tensor *tensor);

/* Makes the weight's stack long and wide enough; false: no memory. */
bool phlora_ggml_stack(struct phlora_ggml *set, struct weight *weight);
/* Writes an adapter's factors, or zeros where it has none, into a stack that is there. */
bool phlora_ggml_stack_write(const struct weight *weight, size_t slot);
void phlora_ggml_stack_free(struct stack *stack);
/* The nodes of stacked factors. */
struct ggml_tensor *phlora_ggml_stacked(struct phlora_ggml_router *router, struct ggml_context *ctx,
                                        const struct weight *weight, struct rows *rows, struct ggml_tensor *x,
                                        struct ggml_tensor *y);
/* Fills the graph's inputs for stacked factors. */
bool phlora_ggml_stack_inputs(struct phlora_ggml_router *router, struct rows *rows);

#endif
