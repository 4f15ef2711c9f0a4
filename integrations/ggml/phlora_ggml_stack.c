/* Factors of all adapters side by side, for weights in the memory of a device: see phlora_ggml.h.
 *
 * ggml_mul_mat_id chooses a matrix for each row, so that any backend computes it; ranks are filled up with zeros to the
 * largest. Row i of the graph's inputs `ids` and `strengths` says which matrices and how strongly; matrix 0 is zero. */
#include "phlora_ggml_internal.h"
#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <stdlib.h>
#include <string.h>

void phlora_ggml_stack_free(struct stack *stack) {
    if (stack->buffer)
        ggml_backend_buffer_free(stack->buffer);
    if (stack->ctx)
        ggml_free(stack->ctx);
    memset(stack, 0, sizeof *stack);
}

/* rows × cols of `bytes` as rows of `width`, scaled, in the type of `to`, into its matrix `index`. */
static bool write_matrix(struct ggml_tensor *to, size_t index, const void *bytes, size_t bytes_len, uint32_t dtype, size_t rows,
                         size_t cols, float scale) {
    size_t width = (size_t)to->ne[0], height = (size_t)to->ne[1], size = to->nb[2], i, k;
    float *values = malloc(rows * cols * sizeof *values + sizeof *values), *wide = calloc(width * height, sizeof *wide);
    char *coded = malloc(size);
    bool done = values && wide && coded;
    if (done && rows > 0)
        done = phlora_decode(bytes, bytes_len, dtype, values, rows * cols) == PHLORA_STATUS_OK;
    for (i = 0; done && i < rows; i++)
        for (k = 0; k < cols; k++)
            wide[i * width + k] = scale * values[i * cols + k];
    if (done)
        done = phlora_encode(wide, width * height, to->type == GGML_TYPE_F16 ? PHLORA_DTYPE_F16 : PHLORA_DTYPE_F32, coded, size) ==
               PHLORA_STATUS_OK;
    if (done)
        ggml_backend_tensor_set(to, coded, index * size, size);
    free(values);
    free(wide);
    free(coded);
    return done;
}

bool phlora_ggml_stack_write(const struct weight *weight, size_t slot) {
    const struct phlora_adapter *own = weight->slots[slot];
    const struct stack *stack = &weight->stack;
    if (!own || own->rank == 0)
        return write_matrix(stack->a, slot + 1, NULL, 0, 0, 0, 0, 0) && write_matrix(stack->b, slot + 1, NULL, 0, 0, 0, 0, 0);
    return write_matrix(stack->a, slot + 1, own->a, own->a_bytes, own->a_dtype, own->rank, own->cols, 1) &&
           write_matrix(stack->b, slot + 1, own->b, own->b_bytes, own->b_dtype, own->rows, own->rank, own->scale);
}

bool phlora_ggml_stack(struct phlora_ggml *set, struct weight *weight) {
    struct stack *stack = &weight->stack;
    enum ggml_type type = weight->wide ? GGML_TYPE_F32 : GGML_TYPE_F16;
    int64_t matrices = (int64_t)set->slots + 1, rank = (int64_t)weight->max_rank;
    struct ggml_init_params params = {2 * ggml_tensor_overhead(), NULL, true};
    ggml_backend_buffer_type_t where = ggml_backend_cpu_buffer_type();
    size_t slot;
    if (stack->a && stack->a->ne[2] >= matrices && stack->a->ne[1] >= rank && stack->a->type == type)
        return true;
    phlora_ggml_stack_free(stack);
    if (phlora_ggml_on_device(weight->tensor))
        where = ggml_backend_buffer_get_type(weight->tensor->buffer);
    stack->ctx = ggml_init(params);
    if (!stack->ctx)
        return false;
    stack->a = ggml_new_tensor_3d(stack->ctx, type, weight->tensor->ne[0], rank, matrices);
    stack->b = ggml_new_tensor_3d(stack->ctx, type, rank, weight->tensor->ne[1], matrices);
    stack->buffer = ggml_backend_alloc_ctx_tensors_from_buft(stack->ctx, where);
    if (!stack->buffer) {
        phlora_ggml_stack_free(stack);
        return false;
    }
    ggml_backend_buffer_set_usage(stack->buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    ggml_backend_buffer_clear(stack->buffer, 0);
    for (slot = 0; slot < set->slots; slot++)
        if (weight->slots[slot] && !phlora_ggml_stack_write(weight, slot)) {
            phlora_ggml_stack_free(stack);
            return false;
        }
    return true;
}

struct ggml_tensor *phlora_ggml_stacked(struct phlora_ggml_router *router, struct ggml_context *ctx,
                                        const struct weight *weight, struct rows *rows, struct ggml_tensor *x,
                                        struct ggml_tensor *y) {
    int64_t count = x->ne[1] * x->ne[2] * x->ne[3], width = router->width, j;
    struct ggml_tensor *t, *sum;
    if (!rows->ids) {
        rows->ids = ggml_new_tensor_2d(ctx, GGML_TYPE_I32, width, count);
        rows->strengths = ggml_new_tensor_3d(ctx, GGML_TYPE_F32, 1, width, count);
        ggml_set_input(rows->ids);
        ggml_set_input(rows->strengths);
    }
    if (!ggml_is_contiguous(x))
        x = ggml_cont(ctx, x);
    x = ggml_reshape_3d(ctx, x, x->ne[0], 1, count);
    t = ggml_mul_mat_id(ctx, weight->stack.a, x, rows->ids);
    t = ggml_mul_mat_id(ctx, weight->stack.b, t, rows->ids);
    t = ggml_mul(ctx, t, rows->strengths);
    sum = ggml_view_2d(ctx, t, t->ne[0], count, t->nb[2], 0);
    for (j = 1; j < width; j++)
        sum = ggml_add(ctx, sum, ggml_view_2d(ctx, t, t->ne[0], count, t->nb[2], (size_t)j * t->nb[1]));
    if (width == 1)
        sum = ggml_reshape_2d(ctx, t, t->ne[0], count);
    return ggml_add(ctx, y, ggml_reshape_4d(ctx, sum, y->ne[0], y->ne[1], y->ne[2], y->ne[3]));
}

bool phlora_ggml_stack_inputs(struct phlora_ggml_router *router, struct rows *rows) {
    size_t count, width, i;
    int32_t *ids;
    float *strengths;
    bool done = true;
    if (!rows->ids || !rows->ids->buffer)
        return true;
    width = (size_t)rows->ids->ne[0];
    count = (size_t)rows->ids->ne[1];
    ids = calloc(width * count, sizeof *ids);
    strengths = calloc(width * count, sizeof *strengths);
    for (i = 0; ids && strengths && i < rows->len; i++) {
        size_t row = rows->list[i].token, at = row * width, end = at + width;
        while (row < count && at < end && ids[at] != 0)
            at++;
        if (row >= count || at == end) {
            done = phlora_ggml_refuse(router->failure, PROBLEM, "more adapters per token than the graph was built for");
            continue;
        }
        ids[at] = (int32_t)rows->slot[rows->list[i].adapter] + 1;
        strengths[at] = rows->list[i].weight;
    }
    if (ids && strengths) {
        ggml_backend_tensor_set(rows->ids, ids, 0, width * count * sizeof *ids);
        ggml_backend_tensor_set(rows->strengths, strengths, 0, width * count * sizeof *strengths);
    } else {
        done = false;
    }
    free(ids);
    free(strengths);
    return done;
}
