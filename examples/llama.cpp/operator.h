/* phlora's adapters as an operator in llama.cpp's graphs: link operator.c into the program, with -rdynamic, and every
 * weight that a loaded adapter has factors for gets one node behind its product, whatever the number of adapters. */
#ifndef PHLORA_LLAMA_OPERATOR_H
#define PHLORA_LLAMA_OPERATOR_H

#include <stddef.h>

/* All of these print what is wrong to standard error and return a number below 0. Nothing of an adapter that is refused
 * is used. None may run while llama_decode does. */

/* Loads a GGUF adapter, before the context is made, and gives its number. */
int operator_load(const char *path);

/* Compares the loaded adapters with the model's GGUF file: names, shapes, kinds of weights, and no tensor of scales that
 * multiplies the product of a weight. That model must be the only one in the process: the program is aborted when a graph
 * multiplies a tensor of a checked name that another model has, or of another shape. */
int operator_check(const char *model_path);

/* Reserves memory for batches of `tokens` on `threads`, after the last operator_load. */
int operator_prepare(size_t tokens, size_t threads);

/* Sets how strongly an adapter works from the next llama_decode on: 0 is off, and so it is when loaded. */
int operator_use(int adapter, float scale);

#endif
