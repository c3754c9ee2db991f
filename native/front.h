// The first log2 W levels of the transform and their inverse, between rows of real numbers and lanes.
//
// A row is read as W parts of M points. Column by column the W real numbers become W complex ones, the remainders modulo the W
// children; a transpose then gives each child a lane of its own. Gates and skip are applied here, while numbers are in
// registers, so that a row is read and written once.
#pragma once
#include "passes.h"

namespace hyena {

template <class T, int SIZE>
HOT const T* front_down(C<T>* y, const T* w) {
    if constexpr (SIZE == 1) {
        return w;
    } else {
        constexpr int R = SIZE % 4 == 0 && SIZE != 8 ? 4 : 2, NODES = W<T> / SIZE, PART = SIZE / R;
        for (int node = 0; node < NODES; node++, w += 2 * (R - 1)) {
            C<T>* x = y + node * SIZE;
            C<T> r[R - 1];
            for (int k = 0; k < R - 1; k++) r[k] = {splat<T>(w[2 * k]), splat<T>(w[2 * k + 1])};
            for (int i = 0; i < PART; i++) {
                if constexpr (R == 2)
                    down2(x[i], x[i + PART], r);
                else
                    down4(x[i], x[i + PART], x[i + 2 * PART], x[i + 3 * PART], r[0], r[1], r[2]);
            }
        }
        return front_down<T, PART>(y, w);
    }
}
template <class T, int SIZE>
HOT void front_up(C<T>* y, const T* w) {
    if constexpr (SIZE > 1) {
        constexpr int R = SIZE % 4 == 0 && SIZE != 8 ? 4 : 2, NODES = W<T> / SIZE, PART = SIZE / R;
        front_up<T, PART>(y, w + NODES * 2 * (R - 1));
        for (int node = 0; node < NODES; node++, w += 2 * (R - 1)) {
            C<T>* x = y + node * SIZE;
            C<T> r[R - 1];
            for (int k = 0; k < R - 1; k++) r[k] = {splat<T>(w[2 * k]), splat<T>(w[2 * k + 1])};
            for (int i = 0; i < PART; i++) {
                if constexpr (R == 2)
                    up2(x[i], x[i + PART], r);
                else
                    up4(x[i], x[i + PART], x[i + 2 * PART], x[i + 3 * PART], r[0], r[1], r[2]);
            }
        }
    }
}

inline i64 padded(i64 n) { return (n + 63) / 64 * 64 + 16; }  // rows a power of two apart would share a set of the cache

constexpr double ROOT_HALF = 0.70710678118654752440;

// n of the numbers at p, zeros after them.
template <class T>
HOT V<T> load_some(const T* p, i64 n) {
    if (n >= W<T>) return load(p);
    V<T> v = {};
    for (i64 i = 0; i < n; i++) v[i] = p[i];
    return v;
}
template <class T>
HOT void store_some(T* p, V<T> v, i64 n) {
    if (n >= W<T>) return store(p, v);
    for (i64 i = 0; i < n; i++) p[i] = v[i];
}

// A row and its gate: the product of both, or the row where b is null.
template <class T>
struct Signal {
    const T* a;
    const T* b;
    HOT V<T> at(const Signal& s, i64 t, i64 n) {
        V<T> x = load_some(s.a + t, n - t);
        return s.b ? x * load_some(s.b + t, n - t) : x;
    }
    Signal from(i64 t) const { return {a + t, b ? b + t : nullptr}; }
};

// Parts of a row are read and written in stretches of whole lines of the cache; long ones where the parts are far apart, so that
// the processor sees what comes next in each of them.
constexpr i64 STRETCH = 512;
inline i64 stretch_of(i64 M) { return M < 1024 ? STRETCH / 4 : STRETCH; }
// The beginning of what is read next, a stretch that the processor cannot foresee; m numbers of it are there.
template <class T>
HOT void foresee(const T* p, i64 m) {
    constexpr i64 LINE = 64 / i64(sizeof(T)), LINES = 12;
    if (p)
        for (i64 i = 0; i < LINES && i * LINE < m; i++) __builtin_prefetch(p + i * LINE);
}
template <class T>
struct Stretches {
    alignas(128) T x[W<T>][STRETCH + W<T>];  // padded: rows of one stretch in different sets of the cache
};

// out = numbers t .. t + m - 1 of the signal, zeros from n on; m is a multiple of W.
template <class T>
HOT void read_stretch(Signal<T> s, i64 t, i64 m, i64 n, T* out) {
    if (t + m <= n && s.b)
        for (i64 i = 0; i < m; i += W<T>) store(out + i, load(s.a + t + i) * load(s.b + t + i));
    else
        for (i64 i = 0; i < m; i += W<T>) store(out + i, Signal<T>::at(s, t + i, n));
}

// Reads n numbers of the signal (zeros after them, up to N) into the buffer.
template <class T>
static void front(const Tables<T>& t, Signal<T> signal, i64 n, C<T>* buffer) {
    constexpr int N = W<T>, H = N / 2;
    const V<T> s = splat<T>(T(ROOT_HALF));
    Stretches<T> in;
    const i64 stretch = stretch_of(t.M);
    for (i64 begin = 0; begin < t.M; begin += stretch) {
        i64 width = t.M - begin < stretch ? t.M - begin : stretch;
        for (int j = 0; j < N; j++) {
            i64 next = j + 1 < N ? (j + 1) * t.M + begin : begin + width;
            foresee(signal.a + next, n - next);
            if (signal.b) foresee(signal.b + next, n - next);
            read_stretch(signal, j * t.M + begin, width, n, in.x[j]);
        }
        for (i64 m = 0; m < width; m += N) {
            C<T> y[N];
            for (int j = 0; j < H; j++) {
                V<T> a = load(in.x[j] + m), b = load(in.x[j + H] + m) * s;
                y[j] = {a + b, b};
                y[j + H] = {a - b, -b};
            }
            front_down<T, H>(y, t.front);
            V<T> re[N], im[N];
            for (int j = 0; j < N; j++) re[j] = y[j].re, im[j] = y[j].im;
            transpose<T>(re);
            transpose<T>(im);
            C<T>* out = buffer + place(begin + m);
            for (int j = 0; j < N; j++) out[j] = {re[j], im[j]};
        }
    }
}

// What becomes of the real part c of a transform: out = gate (scale c + skip x), and the same with a second gate.
template <class T>
struct Finish {
    i64 n;        // numbers of the row; those past it are dropped
    T scale;      // of c
    T skip;       // 0 where there is none, and then x is not read
    Signal<T> x;  // what the skip connection carries
    const T* gate;  // null: 1
    T* out;         // null: not wanted
    const T* gate2;
    T* out2;
    T* carry;  // null, or N numbers: added to c, and replaced by `sign` times the imaginary part
    T sign;
};

template <class T>
HOT void write_stretch(const T* c, const T* gate, T* out, i64 t, i64 m) {
    if (gate)
        for (i64 i = 0; i < m; i += W<T>) store_some(out + t + i, load(c + i) * load_some(gate + t + i, m - i), m - i);
    else
        for (i64 i = 0; i < m; i += W<T>) store_some(out + t + i, load(c + i), m - i);
}

// c: m numbers from t on, in a stretch that may be overwritten.
template <class T>
static void finish(const Finish<T>& f, T* c, i64 t, i64 m) {
    if (f.n - t < m) m = f.n - t;
    if (m <= 0) return;
    bool whole = m % W<T> == 0;
    if (f.scale != T(1))
        for (i64 i = 0; i < m; i += W<T>) store(c + i, load(c + i) * splat<T>(f.scale));
    const V<T> skip = splat<T>(f.skip);
    if (whole && f.skip != T(0) && f.x.b && f.gate && f.out && !f.out2) {  // the usual case, in one loop
        for (i64 i = 0; i < m; i += W<T>) {
            V<T> v = load(c + i) + skip * (load(f.x.a + t + i) * load(f.x.b + t + i));
            store(f.out + t + i, v * load(f.gate + t + i));
        }
        return;
    }
    if (f.skip != T(0))
        for (i64 i = 0; i < m; i += W<T>) store(c + i, load(c + i) + skip * Signal<T>::at(f.x, t + i, t + m));
    if (f.out) write_stretch(c, f.gate, f.out, t, m);
    if (f.out2) write_stretch(c, f.gate2, f.out2, t, m);
}

// The inverse of `front`: real parts to `finish`.
template <class T, bool CARRY>
static void back(const Tables<T>& t, const C<T>* buffer, const Finish<T>& f) {
    constexpr int N = W<T>, H = N / 2;
    constexpr i64 WIDTH = 2 * N;  // of a row of the buffer, in numbers
    const V<T> s = splat<T>(T(ROOT_HALF));
    Stretches<T> real, imaginary;
    const i64 stretch = stretch_of(t.M);
    for (i64 begin = 0; begin < t.M; begin += stretch) {
        i64 width = t.M - begin < stretch ? t.M - begin : stretch;
        for (i64 m = 0; m < width; m += N) {
            const T* in = reinterpret_cast<const T*>(buffer + place(begin + m));
            V<T> re[N], im[N];
            load_transposed<T>(in, WIDTH, re);
            load_transposed<T>(in + N, WIDTH, im);
            C<T> y[N];
            for (int j = 0; j < N; j++) y[j] = {re[j], im[j]};
            front_up<T, H>(y, t.front);
            for (int j = 0; j < H; j++) {
                C<T> d = y[j] - y[j + H];
                store(real.x[j] + m, y[j].re + y[j + H].re);
                store(real.x[j + H] + m, (d.re + d.im) * s);
                if constexpr (CARRY) {
                    store(imaginary.x[j] + m, y[j].im + y[j + H].im);
                    store(imaginary.x[j + H] + m, (d.im - d.re) * s);
                }
            }
        }
        for (int j = 0; j < N; j++) {
            T* c = real.x[j];
            if constexpr (CARRY)
                for (i64 i = 0; i < width; i += N) {
                    T* carry = f.carry + j * t.M + begin + i;
                    store(c + i, load(c + i) + load(carry));
                    store(carry, load(imaginary.x[j] + i) * splat<T>(f.sign));
                }
            i64 next = j + 1 < N ? (j + 1) * t.M + begin : begin + width;
            foresee(f.x.a + next, f.skip != T(0) ? f.n - next : 0);
            foresee(f.x.b ? f.x.b + next : nullptr, f.skip != T(0) ? f.n - next : 0);
            foresee(f.gate ? f.gate + next : nullptr, f.n - next);
            finish(f, c, j * t.M + begin, width);
        }
    }
}
template <class T>
static void back(const Tables<T>& t, const C<T>* buffer, const Finish<T>& f) {
    if (f.carry)
        back<T, true>(t, buffer, f);
    else
        back<T, false>(t, buffer, f);
}

}  // namespace hyena
