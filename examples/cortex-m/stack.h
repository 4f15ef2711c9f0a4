/* How deep the stack went between two calls; on a host, where it does not matter, 0. */
#ifndef STACK_H
#define STACK_H
#include <stddef.h>
#include <stdint.h>

#ifdef __arm__
uint32_t *stack_paint(void);
size_t stack_used(const uint32_t *painted);
#else
static inline uint32_t *stack_paint(void) { return 0; }
static inline size_t stack_used(const uint32_t *painted) { (void)painted; return 0; }
#endif
#endif
