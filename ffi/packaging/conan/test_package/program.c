/* The header and the library are of one version. */
#include <phlora.h>

int main(void) {
    phlora_options options;
    phlora_options_init(&options, sizeof options);
    return !(phlora_version() == PHLORA_VERSION && options.rank == 32);
}
