// Short filters, tap by tap: y_t = bias + sum over k of h_k x_(t-k), its adjoint, and the gradient of the taps.
// A row is a contiguous array of n numbers. Nothing before or after it is read, except where it is said to be padded: then K - 1
// zeros stand before it (after it, for the adjoint), and its rim needs no care of its own.
#pragma once
#include "vec.h"

namespace hyena {

constexpr int TILE = 8;  // registers of results held at once: enough to hide the latency of a multiply-add

// Results t .. t + U W - 1, all of whose inputs exist; STEP is -1 for the convolution (x at t - k), 1 for its adjoint (t + k).
template <class T, int U, int STEP>
HOT void taps_tile(const T* x, const T* h, i64 K, T bias, T* y) {
    V<T> sum[U];
    for (int u = 0; u < U; u++) sum[u] = splat<T>(bias);
    for (i64 k = 0; k < K; k++) {
        V<T> tap = splat<T>(h[k]);
        for (int u = 0; u < U; u++) sum[u] += tap * load(x + u * W<T> + STEP * k);
    }
    for (int u = 0; u < U; u++) store(y + u * W<T>, sum[u]);
}

template <class T, int STEP>
static void taps_row(const T* x, i64 n, const T* h, i64 K, T bias, T* y, bool padded = false) {
    if (K > n) K = n;
    i64 t = 0, end = n;  // where all inputs exist
    if (!padded) (STEP < 0 ? t : end) += STEP < 0 ? K - 1 : 1 - K;
    auto edge = [&](i64 from, i64 to) {
        for (i64 s = from; s < to; s++) {
            i64 most = STEP < 0 ? s + 1 : n - s;
            T sum = bias;
            for (i64 k = 0; k < (K < most ? K : most); k++) sum += h[k] * x[s + STEP * k];
            y[s] = sum;
        }
    };
    edge(0, t);
    for (; t + TILE * W<T> <= end; t += TILE * W<T>) taps_tile<T, TILE, STEP>(x + t, h, K, bias, y + t);
    for (; t + W<T> <= end; t += W<T>) taps_tile<T, 1, STEP>(x + t, h, K, bias, y + t);
    edge(t, n);
}

// y = bias + h conv x
template <class T>
static void convolve_taps(const T* x, i64 n, const T* h, i64 K, T bias, T* y, bool padded = false) {
    taps_row<T, -1>(x, n, h, K, bias, y, padded);
}
// y_t = sum over k of h_k x_(t+k)
template <class T>
static void correlate_taps(const T* x, i64 n, const T* h, i64 K, T* y, bool padded = false) {
    taps_row<T, 1>(x, n, h, K, T(0), y, padded);
}

// sum += sum over t of g_t x_(t-k), for k below K
template <class T>
static void gradient_of_taps(const T* x, const T* g, i64 n, i64 K, double* sum) {
    constexpr i64 LONGEST_SUM = 4096;  // sums in T no longer than this
    if (K > n) K = n;
    for (i64 k = 0; k < K; k += TILE) {
        int taps = int(K - k < TILE ? K - k : TILE);
        i64 t = k + taps - 1;  // from here on x_(t-k-j) exists for all taps of the tile
        for (int j = 0; j < taps; j++)
            for (i64 s = k + j; s < t; s++) sum[k + j] += double(g[s]) * double(x[s - k - j]);
        while (t < n) {
            i64 end = n - t < LONGEST_SUM ? n : t + LONGEST_SUM;
            V<T> part[TILE] = {};
            if (taps == TILE) {
                for (; t + W<T> <= end; t += W<T>) {
                    V<T> gt = load(g + t);
                    for (int j = 0; j < TILE; j++) part[j] += gt * load(x + t - k - j);
                }
            } else {
                for (; t + W<T> <= end; t += W<T>) {
                    V<T> gt = load(g + t);
                    for (int j = 0; j < taps; j++) part[j] += gt * load(x + t - k - j);
                }
            }
            for (; t < end; t++)
                for (int j = 0; j < taps; j++) sum[k + j] += double(g[t]) * double(x[t - k - j]);
            for (int j = 0; j < taps; j++)
                for (int i = 0; i < W<T>; i++) sum[k + j] += double(part[j][i]);
        }
    }
}

// The sum of a row, and of the product of two.
template <class T>
static double total(const T* x, i64 n) {
    constexpr i64 LONGEST_SUM = 4096;
    double sum = 0;
    for (i64 t = 0; t < n;) {
        i64 end = n - t < LONGEST_SUM ? n : t + LONGEST_SUM;
        V<T> part[4] = {};
        for (; t + 4 * W<T> <= end; t += 4 * W<T>)
            for (int u = 0; u < 4; u++) part[u] += load(x + t + u * W<T>);
        for (; t < end; t++) sum += double(x[t]);
        V<T> all = (part[0] + part[1]) + (part[2] + part[3]);
        for (int i = 0; i < W<T>; i++) sum += double(all[i]);
    }
    return sum;
}

}  // namespace hyena
