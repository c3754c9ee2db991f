// One row of the gated long convolution tap by tap, with the same calls as `Transform`. The "spectrum" is the taps themselves.
#pragma once
#include "conv.h"

namespace hyena {

template <class T>
class Direct {
   public:
    Direct(i64 longest, i64 K, bool gradient) : history_(std::min(K, longest) - 1) {
        x_.resize(size_t(history_ + padded(longest)));
        c_.resize(size_t(padded(longest)));
        if (gradient) g_.resize(size_t(history_ + padded(longest)));
        std::fill(x_.data(), x_.data() + history_, T(0));
    }

    void forward(const Row<T>& row, const T* h, i64 K) {
        const T* x = product(row.x, row.n, x_.data() + history_);
        if (!row.gate && row.skip == T(0)) return convolve_taps(x, row.n, h, K, T(0), row.y, true);
        convolve_taps(x, row.n, h, K, T(0), c_.data(), true);
        combine(c_.data(), x, row.skip, row.gate, row.n, row.y);
    }

    // sum += the gradient of the taps, K numbers, where it is not null.
    void backward(const Row<T>& row, const RowGradient<T>& g, const T* h, i64 K, double* sum) {
        const T* x = product(row.x, row.n, x_.data() + history_);
        const T* gc = product(Signal<T>{g.gy, row.gate}, row.n, g_.data());
        std::fill(g_.data() + row.n, g_.data() + row.n + history_, T(0));
        if (sum) gradient_of_taps(x, gc, row.n, K, sum);
        if (g.ggate) {
            convolve_taps(x, row.n, h, K, T(0), c_.data(), true);
            combine(c_.data(), x, row.skip, g.gy, row.n, g.ggate);
        }
        if (g.ga || g.gb) {
            correlate_taps(gc, row.n, h, K, c_.data(), true);
            if (g.ga) combine(c_.data(), gc, row.skip, row.x.b, row.n, g.ga);
            if (g.gb) combine(c_.data(), gc, row.skip, row.x.a, row.n, g.gb);
        }
    }

   private:
    // a b, or a, in `room`, which is padded.
    static const T* product(Signal<T> s, i64 n, T* room) {
        for (i64 t = 0; t < n; t += W<T>) store_some(room + t, Signal<T>::at(s, t, n), n - t);
        return room;
    }
    // out = gate (c + skip x)
    static void combine(const T* c, const T* x, T skip, const T* gate, i64 n, T* out) {
        const V<T> s = splat<T>(skip);
        for (i64 t = 0; t < n; t += W<T>) {
            V<T> v = load_some(c + t, n - t) + s * load_some(x + t, n - t);
            store_some(out + t, gate ? v * load_some(gate + t, n - t) : v, n - t);
        }
    }

    i64 history_;  // zeros before a row (after it, in g_)
    Array<T> x_, c_, g_;
};

}  // namespace hyena
