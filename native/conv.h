// One row of the gated long convolution, forward and backward, by transforms or tap by tap.
//
//   x = a b    c = h conv x + skip x    y = gate c
//
// A row longer than the transform is worked in blocks of N: the imaginary part of one block's result is what the filter carries
// into the next, so no block is padded. Backward it is minus what is carried into the one before.
#pragma once
#include <algorithm>
#include <memory>

#include "front.h"
#include "taps.h"

namespace hyena {

template <class T>
struct Row {
    Signal<T> x;      // a, and b or null
    i64 n;
    const T* gate;    // or null
    T skip;           // 0 where there is none
    T* y;
};
template <class T>
struct RowGradient {
    const T* gy;
    T *ga, *gb, *ggate;  // null where not wanted
};

// --- by transforms ----------------------------------------------------------------------------------------------------------

template <class T>
class Transform {
   public:
    Transform(std::shared_ptr<const Tables<T>> tables, i64 longest, bool gradient)
        : t_(std::move(tables)), blocks_((longest + t_->N - 1) / t_->N) {
        x_.resize(size_t(place(t_->M)) + 1);
        if (gradient) g_.resize(size_t(place(t_->M)) + 1);
        if (blocks_ > 1) carry_.resize(size_t(t_->N));
        if (blocks_ > 1 && gradient) later_.resize(size_t(t_->M));
    }

    // The spectrum (M registers) of K taps, K <= N, divided by N.
    void spectrum(const T* h, i64 K, C<T>* out) {
        front(*t_, Signal<T>{h, nullptr}, K, x_.data());
        C<T>* x = x_.data();
        const V<T> scale = splat<T>(T(1) / T(t_->N));
        C<T>* const buffers[] = {x};
        walk<T, 1, 0>(*t_, buffers, [&](i64 v) {
            Leaf<T> s = down(read(x + place(v)), Roots<T>(&t_->leaves[v / 2]));
            write(out + v, Leaf<T>{scaled(s.a, scale), scaled(s.b, scale), scaled(s.c, scale), scaled(s.d, scale)});
        });
    }

    // The taps' gradient from its spectrum.
    void taps(const C<T>* sum, i64 K, T* gh) {
        C<T>* x = x_.data();
        C<T>* const buffers[] = {x};
        walk<T, 0, 1>(*t_, buffers, [&](i64 v) { write(x + place(v), up(read(sum + v), Roots<T>(&t_->leaves[v / 2]))); });
        Finish<T> f = nothing(K);
        f.scale = T(1) / T(t_->N);
        f.out = gh;
        back(*t_, x, f);
    }

    void forward(const Row<T>& row, const C<T>* H) {
        clear_carry();
        for (i64 s = 0; s < row.n; s += t_->N) {
            i64 n = std::min(t_->N, row.n - s);
            convolve(row.x.from(s), n, H);
            Finish<T> f = result(row.x.from(s), n, row.skip, T(1));
            f.gate = row.gate ? row.gate + s : nullptr, f.out = row.y + s;
            back(*t_, x_.data(), f);
        }
    }

    // sum += the spectrum of the taps' gradient, where it is not null.
    void backward(const Row<T>& row, const RowGradient<T>& g, const C<T>* H, C<T>* sum) {
        bool inputs = g.ga || g.gb;
        if (blocks_ == 1) {
            if (inputs || sum) return together(row, g, H, sum);
            return gate_gradient(row, g, H);
        }
        if (g.ggate) gate_gradient(row, g, H);
        if (!inputs && !sum) return;
        clear_carry();
        if (sum) std::memset(static_cast<void*>(later_.data()), 0, sizeof(C<T>) * size_t(t_->M));
        for (i64 s = (row.n - 1) / t_->N * t_->N; s >= 0; s -= t_->N) {
            i64 n = std::min(t_->N, row.n - s);
            Signal<T> gc{g.gy + s, row.gate ? row.gate + s : nullptr};
            front(*t_, gc, n, g_.data());
            if (sum) front(*t_, row.x.from(s), n, x_.data());
            C<T>* const buffers[] = {g_.data(), x_.data()};
            if (sum)
                walk<T, 2, 1>(*t_, buffers, [&](i64 v) { blockwise(v, H, sum); });
            else
                walk<T, 1, 1>(*t_, buffers, [&](i64 v) { blockwise(v, H, nullptr); });
            if (inputs) back(*t_, g_.data(), input_gradient(row, g, s, n));
        }
    }

   private:
    static Finish<T> nothing(i64 n) {
        return {n, T(1), T(0), {nullptr, nullptr}, nullptr, nullptr, nullptr, nullptr, nullptr, T(1)};
    }
    Finish<T> result(Signal<T> x, i64 n, T skip, T sign) {
        Finish<T> f = nothing(n);
        f.skip = skip, f.x = x, f.sign = sign;
        f.carry = blocks_ > 1 ? carry_.data() : nullptr;
        return f;
    }
    Finish<T> input_gradient(const Row<T>& row, const RowGradient<T>& g, i64 s, i64 n) {
        Signal<T> gc{g.gy + s, row.gate ? row.gate + s : nullptr};
        Finish<T> f = result(gc, n, row.skip, T(-1));
        f.gate = row.x.b ? row.x.b + s : nullptr, f.out = g.ga ? g.ga + s : nullptr;
        f.gate2 = row.x.a + s, f.out2 = g.gb ? g.gb + s : nullptr;
        return f;
    }
    void clear_carry() {
        if (blocks_ > 1) std::memset(carry_.data(), 0, sizeof(T) * size_t(t_->N));
    }

    // x_ = the product of the signal's spectrum and H, back in lanes.
    void convolve(Signal<T> signal, i64 n, const C<T>* H) {
        front(*t_, signal, n, x_.data());
        C<T>* x = x_.data();
        C<T>* const buffers[] = {x};
        walk<T, 1, 1>(*t_, buffers, [&](i64 v) {
            Roots<T> w(&t_->leaves[v / 2]);
            C<T>* p = x + place(v);
            Leaf<T> s = down(read(p), w);
            write(p, up(Leaf<T>{s.a * H[v], s.b * H[v + 1], s.c * H[v + 2], s.d * H[v + 3]}, w));
        });
    }

    void gate_gradient(const Row<T>& row, const RowGradient<T>& g, const C<T>* H) {
        clear_carry();
        for (i64 s = 0; s < row.n; s += t_->N) {
            i64 n = std::min(t_->N, row.n - s);
            convolve(row.x.from(s), n, H);
            Finish<T> f = result(row.x.from(s), n, row.skip, T(1));
            f.gate = g.gy + s, f.out = g.ggate + s;
            back(*t_, x_.data(), f);
        }
    }

    // One block: both signals go down together, and up again with the products that are wanted.
    void together(const Row<T>& row, const RowGradient<T>& g, const C<T>* H, C<T>* sum) {
        Signal<T> gc{g.gy, row.gate};
        front(*t_, gc, row.n, g_.data());
        C<T>* const buffers[] = {g_.data(), x_.data()};
        if (sum || g.ggate) {
            front(*t_, row.x, row.n, x_.data());
            if (g.ggate)
                walk<T, 2, 2>(*t_, buffers, [&](i64 v) { both(v, H, sum, true); });
            else
                walk<T, 2, 1>(*t_, buffers, [&](i64 v) { both(v, H, sum, false); });
        } else {
            walk<T, 1, 1>(*t_, buffers, [&](i64 v) { blockwise(v, H, nullptr); });
        }
        if (g.ggate) {
            Finish<T> f = result(row.x, row.n, row.skip, T(1));
            f.gate = g.gy, f.out = g.ggate;
            back(*t_, x_.data(), f);
        }
        if (g.ga || g.gb) back(*t_, g_.data(), input_gradient(row, g, 0, row.n));
    }
    HOT void one(C<T>& x, C<T>& g, C<T> H, C<T>* sum) {
        if (sum) *sum = *sum + mulconj(g, x);
        x = x * H;
        g = mulconj(g, H);
    }
    void both(i64 v, const C<T>* H, C<T>* sum, bool gate) {
        Roots<T> w(&t_->leaves[v / 2]);
        C<T>*px = x_.data() + place(v), *pg = g_.data() + place(v);
        Leaf<T> x = down(read(px), w), g = down(read(pg), w);
        one(x.a, g.a, H[v], sum ? sum + v : nullptr);
        one(x.b, g.b, H[v + 1], sum ? sum + v + 1 : nullptr);
        one(x.c, g.c, H[v + 2], sum ? sum + v + 2 : nullptr);
        one(x.d, g.d, H[v + 3], sum ? sum + v + 3 : nullptr);
        if (gate) write(px, up(x, w));
        write(pg, up(g, w));
    }
    // The last block first: a lag may reach from the following block (`later_`) into this one, with a factor i.
    void blockwise(i64 v, const C<T>* H, C<T>* sum) {
        Roots<T> w(&t_->leaves[v / 2]);
        C<T>* pg = g_.data() + place(v);
        Leaf<T> g = down(read(pg), w);
        if (sum) {
            Leaf<T> x = down(read(x_.data() + place(v)), w);
            C<T>* l = later_.data() + v;
            Leaf<T> from = read(l);
            write(l, g);
            sum[v] = sum[v] + mulconj(g.a + times_i(from.a), x.a);
            sum[v + 1] = sum[v + 1] + mulconj(g.b + times_i(from.b), x.b);
            sum[v + 2] = sum[v + 2] + mulconj(g.c + times_i(from.c), x.c);
            sum[v + 3] = sum[v + 3] + mulconj(g.d + times_i(from.d), x.d);
        }
        write(pg, up(Leaf<T>{mulconj(g.a, H[v]), mulconj(g.b, H[v + 1]), mulconj(g.c, H[v + 2]), mulconj(g.d, H[v + 3])}, w));
    }

    std::shared_ptr<const Tables<T>> t_;
    i64 blocks_;
    Array<C<T>> x_, g_, later_;
    Array<T> carry_;
};

}  // namespace hyena
