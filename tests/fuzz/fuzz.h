/* What every fuzzer defines: libFuzzer or replay_main.c calls it. data is a copy of exactly len
 * bytes, so that reading past it is seen. */
#ifndef POSTERN_FUZZ_H
#define POSTERN_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#endif
