#include "gf256.h"

#include "check.h"

/* By definition: shift, add, reduce. */
static uint8_t slow_multiply(uint8_t a, uint8_t b) {
    unsigned sum = 0, x = a;
    for (; b != 0; b >>= 1) {
        sum ^= (b & 1) != 0 ? x : 0;
        x = x << 1 ^ (x >= 128 ? 0x11d : 0);
    }
    return (uint8_t)sum;
}

TEST(multiplies_as_defined) {
    bool same = true;
    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < 256; b++)
            same &= srm_gf256_multiply((uint8_t)a, (uint8_t)b) == slow_multiply((uint8_t)a, (uint8_t)b);
    CHECK(same);
}

TEST(every_element_but_zero_has_an_inverse) {
    for (unsigned a = 1; a < 256; a++)
        CHECK_EQ(srm_gf256_multiply((uint8_t)a, srm_gf256_invert((uint8_t)a)), 1);
}

TEST(runs_of_any_length_and_place) {
    uint8_t from[64], to[64], scaled[64], twice[64], added[64];
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (uint8_t)(i * 37 + 11);
    for (size_t start = 0; start < 8; start++)
        for (size_t size = 0; size + start <= 40; size++) {
            memset(to, 0x5a, sizeof to);
            memcpy(scaled, from, sizeof scaled);
            srm_gf256_add_scaled(to + start, from, size, 0x8e);
            srm_gf256_scale(scaled + start, size, 0x8e);
            memcpy(twice, from, sizeof twice);
            memset(added, 0x5a, sizeof added);
            srm_gf256_double(twice + start, size);
            srm_gf256_add(added + start, from, size);
            for (size_t i = 0; i < sizeof to; i++) {
                bool inside = i >= start && i < start + size;
                CHECK_EQ(to[i], inside ? 0x5a ^ slow_multiply(from[i - start], 0x8e) : 0x5a);
                CHECK_EQ(added[i], inside ? 0x5a ^ from[i - start] : 0x5a);
                CHECK_EQ(twice[i], inside ? slow_multiply(from[i], 2) : from[i]);
                CHECK_EQ(scaled[i], inside ? slow_multiply(from[i], 0x8e) : from[i]);
            }
        }
}

int main(int argc, char **argv) {
    return check_main(argc, argv);
}
