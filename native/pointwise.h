// What stands between the matrix products of an MLP, in one pass over rows that the cache holds: a bias and GELU.
#pragma once
#include "window.h"

namespace hyena {

constexpr i64 ROWS = 16;  // rows an item

// x = a / (1 + exp(-2 sqrt(2 / pi) (a + 0.044715 a^3))) for a = x + bias: GELU in its tanh form, in place, rows of D numbers.
template <class T>
static bool gelu(T* x, const T* bias, i64 n, i64 D, int threads) {
    return parallel(threads, (n + ROWS - 1) / ROWS, [&](i64 item, int) {
        const V<T> twice = splat<T>(T(-1.59576912160573071176)), cube = splat<T>(T(-1.59576912160573071176 * 0.044715));
        const V<T> one = splat<T>(T(1)), zero = {};
        for (i64 r = item * ROWS; r < n && r < (item + 1) * ROWS; r++)
            for (i64 d = 0; d < D; d += W<T>) {
                T* p = x + r * D + d;
                V<T> a = load_some(p, D - d);
                if (bias) a += load_some(bias + d, D - d);
                V<T> u = a * (twice + cube * (a * a));  // -2 sqrt(2 / pi) (...): negative where a is positive
                auto positive = u > zero;
                V<T> e = exponential<T>(positive ? -u : u);  // at most 1
                store_some(p, a * (positive ? e : one) / (one + e), D - d);
            }
    });
}

}  // namespace hyena
