// One token of a gated convolution whose filter is a head of H taps and then S modes: what would be some thirty small operations
// of a tensor library, a channel at a time. Rows (b, d) are independent.
#pragma once
#include "abi.h"
#include "front.h"
#include "threads.h"

namespace hyena {

template <class T>
class Step {
   public:
    explicit Step(const HyenaStep& s) : s(s), x(of(s.x)), taps(of(s.taps)), bias(of(s.bias)), now(of(s.now)), head(of(s.head)), skip(of(s.skip)) {}

    // u = k v and y = q (what was read gives + (h_0 + skip) u); nothing is changed.
    bool peek() const {
        return over([&](i64 b, i64 d) {
            T q = shortly(b, d), u = shortly(b, d + s.D) * shortly(b, d + 2 * s.D);
            double past = dot(s.modes + (b * s.D + d) * s.P * s.S, s.read + d * s.P * s.S);
            const T* kept = of(s.kept) + (b * s.D + d) * s.H;
            for (i64 i = 0; i < s.H; i++) past += double(head[d * s.H + i] * kept[i]);
            T y = T(past) + now[d] * u;
            if (skip) y += skip[d] * u;
            to(s.u)[b * s.D + d] = u;
            to(s.y)[b * s.D + d] = q * y;
        });
    }

    // Takes in x and u: what is kept moves up by one, and the modes take what falls out of the head, or u where there is none.
    bool commit() const {
        return over([&](i64 b, i64 d) {
            for (i64 i = 0; i < 3; i++) {
                i64 row = b * 3 * s.D + i * s.D + d;
                push(to(s.window) + row * (s.K - 1), s.K - 1, x[row]);
            }
            T u = of(s.u)[b * s.D + d];
            T entering = push(to(s.kept) + (b * s.D + d) * s.H, s.H, u);
            double* m = s.modes + (b * s.D + d) * s.P * s.S;
            const double* l = s.lam + d * s.P * s.S;
            for (i64 i = 0; s.P == 1 && i < s.S; i++) m[i] = m[i] * l[i] + double(entering);
            for (i64 i = 0; s.P == 2 && i < 2 * s.S; i += 2) {
                double re = m[i] * l[i] - m[i + 1] * l[i + 1] + double(entering), im = m[i] * l[i + 1] + m[i + 1] * l[i];
                m[i] = re, m[i + 1] = im;
            }
        });
    }

   private:
    const HyenaStep& s;
    const T *x, *taps, *bias, *now, *head, *skip;

    static const T* of(const void* p) { return static_cast<const T*>(p); }
    static T* to(void* p) { return static_cast<T*>(p); }

    // The short convolution of stream c at this token.
    T shortly(i64 b, i64 c) const {
        i64 row = b * 3 * s.D + c;
        T y = bias[c] + taps[c * s.K] * x[row];
        const T* kept = of(s.window) + row * (s.K - 1);
        for (i64 k = 1; k < s.K; k++) y += taps[c * s.K + k] * kept[s.K - 1 - k];
        return y;
    }
    double dot(const double* a, const double* b) const {
        V<double> sum = {};
        for (i64 i = 0; i < s.P * s.S; i += W<double>) sum += load_some(a + i, s.P * s.S - i) * load_some(b + i, s.P * s.S - i);
        double total = 0;
        for (int i = 0; i < W<double>; i++) total += sum[i];
        return total;
    }
    // value becomes the newest of n; what falls out, value itself where n is 0.
    static T push(T* p, i64 n, T value) {
        if (!n) return value;
        T oldest = p[0];
        for (i64 i = 1; i < n; i++) p[i - 1] = p[i];
        p[n - 1] = value;
        return oldest;
    }
    template <class F>
    bool over(const F& row) const {
        constexpr i64 CELL = 1 << 15;  // numbers an item: fewer are not worth a thread
        i64 rows = s.B * s.D, each = CELL / (s.P * s.S + s.H + 3 * s.K) + 1;
        return parallel(int(s.threads), (rows + each - 1) / each, [&](i64 item, int) {
            for (i64 r = item * each; r < rows && r < (item + 1) * each; r++) row(r / s.D, r % s.D);
        });
    }
};

}  // namespace hyena
