// Vectors of one register: W lanes of T (float or double), complex pairs of them, and the W x W transpose.
// GCC and Clang vector extensions, no intrinsics: the instruction set is the compiler's flag, and W follows from it.
#pragma once
#include <cstdint>
#include <cstring>
#include <utility>

namespace hyena {

using i64 = int64_t;

#if defined(HYENA_VECTOR_BYTES)  // tests build wide vectors for narrow machines
constexpr int BYTES = HYENA_VECTOR_BYTES;
#elif defined(__AVX512F__)
constexpr int BYTES = 64;
#elif defined(__AVX2__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;  // SSE2, NEON
#endif

template <class T>
struct Vector {
    typedef T type __attribute__((vector_size(BYTES)));
};
template <class T>
using V = typename Vector<T>::type;
template <class T>
constexpr int W = BYTES / int(sizeof(T));

#define HOT static inline __attribute__((always_inline))

template <class T>
HOT V<T> load(const T* p) {
    V<T> v;
    std::memcpy(&v, p, BYTES);
    return v;
}
template <class T>
HOT void store(T* p, V<T> v) {
    std::memcpy(p, &v, BYTES);
}
template <class T>
HOT V<T> splat(T x) {
    return x - V<T>{};
}

// One register of real and one of imaginary parts.
template <class T>
struct alignas(BYTES) C {
    V<T> re, im;
};

template <class T>
HOT C<T> operator+(C<T> a, C<T> b) {
    return {a.re + b.re, a.im + b.im};
}
template <class T>
HOT C<T> operator-(C<T> a, C<T> b) {
    return {a.re - b.re, a.im - b.im};
}
template <class T>
HOT C<T> operator*(C<T> a, C<T> b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
// a conj(b)
template <class T>
HOT C<T> mulconj(C<T> a, C<T> b) {
    return {a.re * b.re + a.im * b.im, a.im * b.re - a.re * b.im};
}
// i a
template <class T>
HOT C<T> times_i(C<T> a) {
    return {-a.im, a.re};
}
template <class T>
HOT C<T> scaled(C<T> a, V<T> s) {
    return {a.re * s, a.im * s};
}

// --- shuffles -------------------------------------------------------------------------------------------------------------

template <class Pattern, class T, size_t... I>
HOT V<T> shuffled(V<T> a, V<T> b, std::index_sequence<I...>) {
#if defined(__clang__) || __GNUC__ >= 12
    return __builtin_shufflevector(a, b, Pattern::at(int(I))...);
#else
    typedef typename std::conditional<sizeof(T) == 4, int32_t, int64_t>::type index;
    typedef index mask __attribute__((vector_size(BYTES)));
    return __builtin_shuffle(a, b, mask{index(Pattern::at(int(I)))...});
#endif
}
template <class Pattern, class T>
HOT V<T> shuffle(V<T> a, V<T> b) {
    return shuffled<Pattern, T>(a, b, std::make_index_sequence<W<T>>());
}

// Within each 16 bytes of E elements: the first (second) half of a and of b, element by element in turn.
template <int N, int E, int HALF>
struct Interleave {
    static constexpr int at(int i) { return (i / E) * E + HALF * E / 2 + (i % E) / 2 + (i % 2) * N; }
};
// Within each 16 bytes: the first (second) half of a, then that of b.
template <int N, int E, int HALF>
struct Join {
    static constexpr int at(int i) { return (i / E) * E + HALF * E / 2 + (i % E) % (E / 2) + (i % E >= E / 2 ? N : 0); }
};
// Among runs of S elements: the even (odd) runs of a and of b in turn.
template <int N, int S, int ODD>
struct Swap {
    static constexpr int at(int i) { return ((i / S) & ~1) * S + ODD * S + i % S + ((i / S) & 1) * N; }
};

// The transpose of W rows in two steps: E x E within each 16 bytes among neighbouring rows, and the 16-byte runs among groups
// of rows. Rows that come from memory get the second step for free, by loads of 16 bytes.
template <class T>
constexpr int RUN16 = 16 / int(sizeof(T));

template <class T>
HOT void transpose_within(V<T>* v) {
    constexpr int E = RUN16<T>, N = W<T>;
    for (int g = 0; g < N; g += E) {
        V<T>* r = v + g;
        if constexpr (E == 4) {
            V<T> t0 = shuffle<Interleave<N, E, 0>, T>(r[0], r[1]), t1 = shuffle<Interleave<N, E, 1>, T>(r[0], r[1]);
            V<T> t2 = shuffle<Interleave<N, E, 0>, T>(r[2], r[3]), t3 = shuffle<Interleave<N, E, 1>, T>(r[2], r[3]);
            r[0] = shuffle<Join<N, E, 0>, T>(t0, t2);
            r[1] = shuffle<Join<N, E, 1>, T>(t0, t2);
            r[2] = shuffle<Join<N, E, 0>, T>(t1, t3);
            r[3] = shuffle<Join<N, E, 1>, T>(t1, t3);
        } else {
            V<T> a = r[0], b = r[1];
            r[0] = shuffle<Interleave<N, E, 0>, T>(a, b);
            r[1] = shuffle<Interleave<N, E, 1>, T>(a, b);
        }
    }
}
template <class T, int S = RUN16<T>>
HOT void transpose_runs(V<T>* v) {
    if constexpr (S < W<T>) {
        for (int i = 0; i < W<T>; i++) {
            if (i & S) continue;
            V<T> a = v[i], b = v[i + S];
            v[i] = shuffle<Swap<W<T>, S, 0>, T>(a, b);
            v[i + S] = shuffle<Swap<W<T>, S, 1>, T>(a, b);
        }
        transpose_runs<T, 2 * S>(v);
    }
}
template <class T>
HOT void transpose(V<T>* v) {
    transpose_within<T>(v);
    transpose_runs<T>(v);
}
// The transpose of the W rows at p, p + stride, ...
template <class T>
HOT void load_transposed(const T* p, i64 stride, V<T>* v) {
    constexpr int E = RUN16<T>, N = W<T>;
    for (int i = 0; i < N; i++) {  // row i of the second step: run i / E of the rows i % E, i % E + E, ...
        const T* q = p + (i % E) * stride + (i / E) * E;
        T* out = reinterpret_cast<T*>(v + i);
        for (int run = 0; run < N / E; run++) std::memcpy(out + run * E, q + run * E * stride, 16);
    }
    transpose_within<T>(v);
}

}  // namespace hyena
