/* Uses a library that embeds phlora, and the shared phlora beside it. */
#include <phlora.h>

unsigned embed_rank(void);

int main(void) {
    phlora_options options;
    phlora_options_init(&options, sizeof options);
    return !(options.rank == embed_rank());
}
