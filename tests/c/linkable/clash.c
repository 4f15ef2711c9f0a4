/* Calls two Rust libraries of one program. */
#include <phlora.h>

unsigned other_sum(unsigned count);

int main(void) {
    phlora_options options;
    phlora_options_init(&options, sizeof options);
    return !(options.rank == 32 && other_sum(10) == 46);
}
