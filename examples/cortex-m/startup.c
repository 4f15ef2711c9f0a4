/* Reset handler for a Cortex-M4F board under QEMU, and the measurement of stack depth by painting. */
#include "stack.h"
#include <stdlib.h>

extern uint32_t data_start, data_end, data_source, bss_start, bss_end, stack_top, stack_limit;
extern void initialise_monitor_handles(void);
int main(void);

__attribute__((noreturn)) void reset(void) {
    /* CPACR: full access to the floating-point unit. */
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
    __asm volatile("dsb\n isb");
    for (uint32_t *to = &data_start, *from = &data_source; to < &data_end;) *to++ = *from++;
    for (uint32_t *to = &bss_start; to < &bss_end;) *to++ = 0;
    initialise_monitor_handles();
    exit(main());
}

static __attribute__((noreturn)) void fault(void) { _Exit(3); }

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top, (void *)reset, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault,
};

enum { PAINT = 0x5ac3u };

/* Below the caller's frame: the 128 bytes left out are those of the two functions here. */
__attribute__((noinline)) uint32_t *stack_paint(void) {
    uint32_t *here = (uint32_t *)__builtin_frame_address(0) - 32;
    for (uint32_t *word = &stack_limit; word < here; word++) *(volatile uint32_t *)word = PAINT;
    return here;
}

__attribute__((noinline)) size_t stack_used(const uint32_t *painted) {
    const uint32_t *word = &stack_limit;
    while (word < painted && *word == PAINT) word++;
    return (size_t)(painted - word) * sizeof *word + 32 * sizeof *word;
}
