// The window of an implicit filter, made while it is applied: out = raw (exp(-|decay| t) + shift), row by row.
#pragma once
#include "front.h"
#include "threads.h"

namespace hyena {

// exp(x) to the last bit or two, for x <= 0; NaN stays NaN.
template <class T>
HOT V<T> exponential(V<T> x) {
    typedef typename std::conditional<sizeof(T) == 4, int32_t, int64_t>::type I;
    typedef I VI __attribute__((vector_size(BYTES)));
    constexpr bool narrow = sizeof(T) == 4;
    constexpr int MANTISSA = narrow ? 23 : 52, TERMS = narrow ? 7 : 13;
    const V<T> least = splat<T>(T(narrow ? -87.0 : -708.0));
    const V<T> log2e = splat<T>(T(1.44269504088896340736));
    // ln 2 in two parts, the first with zeros at its end: its products with small whole numbers are exact.
    const V<T> high = splat<T>(T(narrow ? 0.693145751953125 : 0.69314718036912381649));
    const V<T> low = splat<T>(T(narrow ? 1.42860682030941723212e-6 : 1.90821492927058770002e-10));
    const V<T> magic = splat<T>(T(narrow ? 12582912.0 : 6755399441055744.0));  // adding it rounds to whole numbers
    VI tiny = x < least;
    V<T> clamped = tiny ? least : x;
    V<T> n = (clamped * log2e + magic) - magic;
    V<T> r = (clamped - n * high) - n * low;
    T factorial = 1;
    T coefficients[TERMS + 1];
    for (int k = 0; k <= TERMS; k++) {
        if (k) factorial *= T(k);
        coefficients[k] = T(1) / factorial;
    }
    V<T> sum = splat<T>(coefficients[TERMS]);
    for (int k = TERMS - 1; k >= 0; k--) sum = sum * r + splat<T>(coefficients[k]);
    VI power = (__builtin_convertvector(n, VI) + I(narrow ? 127 : 1023)) << MANTISSA;
    V<T> scale;
    std::memcpy(&scale, &power, BYTES);
    V<T> result = sum * scale;
    result = tiny ? V<T>{} : result;
    return x != x ? x : result;
}

template <class T>
static bool window(const T* raw, const T* decay, const T* t, i64 G, i64 K, T shift, int threads, T* out) {
    constexpr i64 CELL = 1 << 14;  // numbers an item
    i64 cells = (K + CELL - 1) / CELL;
    return parallel(threads, G * cells, [&](i64 i, int) {
        i64 g = i / cells, begin = i % cells * CELL, end = begin + CELL < K ? begin + CELL : K;
        const V<T> rate = splat<T>(decay[g] < 0 ? decay[g] : -decay[g]), floor = splat<T>(shift);
        for (i64 k = begin; k < end; k += W<T>) {
            V<T> w = exponential<T>(rate * load_some(t + k, end - k)) + floor;
            store_some(out + g * K + k, load_some(raw + g * K + k, end - k) * w, end - k);
        }
    });
}

}  // namespace hyena
