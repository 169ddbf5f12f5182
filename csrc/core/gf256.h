/* gf256 - arithmetic in the field of 256 elements, for erasure codes: addition is XOR, multiplication is that
 * of polynomials over GF(2) modulo x^8 + x^4 + x^3 + x^2 + 1 (0x11d). Runs are worked on eight bytes at a
 * time. No cryptography: nothing here is secret.
 */
#ifndef SRM_GF256_H
#define SRM_GF256_H

#include "base.h"

uint8_t srm_gf256_multiply(uint8_t a, uint8_t b);
/* 1 / a; `a` is not 0. */
uint8_t srm_gf256_invert(uint8_t a);
/* to[i] += from[i]; the two don't overlap. */
void srm_gf256_add(uint8_t *to, const uint8_t *from, size_t size);
/* bytes[i] *= x, which is 2. A sum of many runs with a factor each is cheapest by these two: bit by bit of
 * the factors. */
void srm_gf256_double(uint8_t *bytes, size_t size);
/* to[i] += factor * from[i] for `size` bytes; the two don't overlap. */
void srm_gf256_add_scaled(uint8_t *to, const uint8_t *from, size_t size, uint8_t factor);
/* bytes[i] *= factor. */
void srm_gf256_scale(uint8_t *bytes, size_t size, uint8_t factor);

#endif
