// One token through a whole block around a gated convolution: norms, projections, MLP and residuals as well. The weights pass
// through the processor once; between their products stands nothing that costs a tensor library's call.
#pragma once
#include <cmath>

#include "step.h"

namespace hyena {

template <class T>
class TokenBlock {
   public:
    explicit TokenBlock(const HyenaBlock& b)
        : b(b), B(b.step.B), D(b.step.D), H(b.hidden), normed(size_t(B * D)), streams(size_t(3 * B * D)), u(size_t(B * D)), y(size_t(B * D)),
          inner(size_t(B * H)), gates(size_t(b.gate.weight ? B * H : 0)) {}

    // out = x + mixer(norm(x)), then out + mlp(norm(out)); what the step keeps takes the token in.
    bool run() {
        const T* x = static_cast<const T*>(b.x);
        T* out = static_cast<T*>(b.out);
        HyenaStep s = b.step;
        s.x = streams.data(), s.u = u.data(), s.y = y.data();
        Step<T> step(s);
        norm(b.mixer_norm, x);
        if (!linear(b.in, normed.data(), D, 3 * D, [&](i64 i, T sum) { streams[size_t(i)] = sum; })) return false;
        if (!step.peek() || !step.commit()) return false;
        if (!linear(b.mixed, y.data(), D, D, [&](i64 i, T sum) { out[i] = x[i] + sum; })) return false;
        norm(b.mlp_norm, out);
        const int act = int(b.activation);
        if (b.gate.weight && !linear(b.gate, normed.data(), D, H, [&](i64 i, T sum) { gates[size_t(i)] = activated(act, sum); }))
            return false;
        bool gated = b.gate.weight;
        if (!linear(b.up, normed.data(), D, H,
                    [&](i64 i, T sum) { inner[size_t(i)] = gated ? gates[size_t(i)] * sum : activated(act, sum); }))
            return false;
        return linear(b.down, inner.data(), H, D, [&](i64 i, T sum) { out[i] = out[i] + sum; });
    }

   private:
    const HyenaBlock& b;
    i64 B, D, H;
    std::vector<T> normed, streams, u, y, inner, gates;

    // normed = norm(x), sums in double.
    void norm(const HyenaNorm& n, const T* x) {
        const T *weight = static_cast<const T*>(n.weight), *bias = static_cast<const T*>(n.bias);
        for (i64 r = 0; r < B; r++) {
            const T* row = x + r * D;
            double mean = 0, square = 0;
            if (bias) {
                for (i64 d = 0; d < D; d++) mean += double(row[d]);
                mean /= double(D);
            }
            for (i64 d = 0; d < D; d++) square += (double(row[d]) - mean) * (double(row[d]) - mean);
            square /= double(D);
            double scale = 1 / (n.outside ? std::sqrt(square) + n.eps : std::sqrt(square + n.eps));
            for (i64 d = 0; d < D; d++) {
                T v = T((double(row[d]) - mean) * scale) * weight[d];
                normed[size_t(r * D + d)] = bias ? v + bias[d] : v;
            }
        }
    }

    // done(b rows + row, bias + weight x) for each row of the weight (rows, width) and each of the B vectors x.
    template <class F>
    bool linear(const HyenaLinear& l, const T* x, i64 width, i64 rows, const F& done) {
        const T *weight = static_cast<const T*>(l.weight), *bias = static_cast<const T*>(l.bias);
        constexpr i64 CELL = 1 << 15;  // weights an item
        i64 each = CELL / width + 1;
        return parallel(int(b.step.threads), (rows + each - 1) / each, [&](i64 item, int) {
            for (i64 r = item * each; r < rows && r < (item + 1) * each; r++)
                for (i64 v = 0; v < B; v++) done(v * rows + r, dot(weight + r * width, x + v * width, width) + (bias ? bias[r] : T(0)));
        });
    }

    static T dot(const T* a, const T* b, i64 n) {
        V<T> sums[4] = {};
        i64 i = 0;
        for (; i + 4 * W<T> <= n; i += 4 * W<T>)
            for (int k = 0; k < 4; k++) sums[k] += load(a + i + k * W<T>) * load(b + i + k * W<T>);
        for (; i < n; i += W<T>) sums[0] += load_some(a + i, n - i) * load_some(b + i, n - i);
        V<T> sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        T total = 0;
        for (int k = 0; k < W<T>; k++) total += sum[k];
        return total;
    }

    static T activated(int kind, T x) {
        switch (kind) {
            case HYENA_GELU: return x * T(0.5) * (T(1) + std::erf(x * T(0.70710678118654752440)));
            case HYENA_GELU_TANH: return x / (T(1) + std::exp(T(-1.59576912160573071176) * (x + T(0.044715) * x * x * x)));
            case HYENA_RELU: return x != x || x > 0 ? x : T(0);
            case HYENA_SILU: return x / (T(1) + std::exp(-x));
            default: return x;
        }
    }
};

}  // namespace hyena
