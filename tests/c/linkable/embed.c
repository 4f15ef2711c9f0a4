/* A shared library that embeds the static one and exports a single function. */
#include <phlora.h>

__attribute__((visibility("default"))) unsigned embed_rank(void) {
    phlora_options options;
    phlora_options_init(&options, sizeof options);
    return (unsigned)options.rank;
}
