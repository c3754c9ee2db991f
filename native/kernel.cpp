// The native kernel's entries, plain C. Each returns HYENA_OK, HYENA_MEMORY or HYENA_ARGUMENT.
#include "block.h"
#include "pointwise.h"
#include "step.h"
#include "window.h"
#include "work.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

#ifndef HYENA_ISA
#define HYENA_ISA "unnamed"
#endif
#ifndef HYENA_DIGEST
#define HYENA_DIGEST ""
#endif

namespace hyena {

template <class T>
using Workers = std::vector<std::unique_ptr<Worker<T>>>;

template <class T>
static Worker<T>& worker_of(Workers<T>& workers, int i, const HyenaConv& c, const HyenaGradient* g, const Shares& s,
                            const std::shared_ptr<const Tables<T>>& t) {
    if (!workers[size_t(i)]) workers[size_t(i)] = std::make_unique<Worker<T>>(c, g, s, t);
    return *workers[size_t(i)];
}

static bool valid(const HyenaConv& c) {
    return c.B >= 0 && c.D > 0 && c.L > 0 && c.G > 0 && c.K > 0 && c.D % c.G == 0 && c.threads > 0 && (c.N == 0 || c.K <= c.N);
}
static bool side_by_side(const HyenaTensor& t) { return t.data && t.l != 1 && t.d == 1; }

template <class T>
static int forward(const HyenaConv& c) {
    if (!valid(c) || (c.N && c.N != good_length<T>(c.N))) return HYENA_ARGUMENT;
    std::shared_ptr<const Tables<T>> t = c.N ? tables<T>(c.N) : nullptr;
    Shares s(c, side_by_side(c.u) || side_by_side(c.pre) || side_by_side(c.post) || side_by_side(c.y));
    Workers<T> workers(size_t(c.threads) + 1);
    bool done = parallel(int(c.threads), s.items * s.parts, [&](i64 i, int worker) {
        Worker<T>& w = worker_of(workers, worker, c, nullptr, s, t);
        i64 item = i / s.parts, part = i % s.parts;
        w.filters_of(item);
        w.rows(item, s.rows * part / s.parts, s.rows * (part + 1) / s.parts, nullptr, nullptr, nullptr);
    });
    return done ? HYENA_OK : HYENA_MEMORY;
}

// Adds up the parts of one filter's sums.
template <class E>
static void add_parts(E* sums, i64 n, i64 parts, i64 stride) {
    for (i64 p = 1; p < parts; p++)
        for (i64 i = 0; i < n; i++) sums[i] = sums[i] + sums[p * stride + i];
}

template <class T>
static void write_scalars(const HyenaConv& c, const HyenaGradient& g, const double* sums) {
    void* const taps[] = {g.gtaps_u, g.gtaps_pre, g.gtaps_post};
    void* const biases[] = {g.gbias_u, g.gbias_pre, g.gbias_post};
    void* const offsets[] = {g.goffset_u, g.goffset_pre, g.goffset_post};
    i64 count = Worker<T>::scalars(c);
    for (i64 d = 0; d < c.D; d++) {
        const double* x = sums + d * count;
        if (g.gskip) static_cast<T*>(g.gskip)[d] = T(x[0]);
        for (int i = 0; i < 3; i++) {
            const double* s = x + 1 + i * (c.S + 2);
            if (taps[i])
                for (i64 k = 0; k < c.S; k++) static_cast<T*>(taps[i])[d * c.S + k] = T(s[k]);
            if (biases[i]) static_cast<T*>(biases[i])[d] = T(s[c.S]);
            if (offsets[i]) static_cast<T*>(offsets[i])[d] = T(s[c.S + 1]);
        }
    }
}

template <class T>
static int backward(const HyenaConv& c, const HyenaGradient& g) {
    if (!valid(c) || (c.N && c.N != good_length<T>(c.N))) return HYENA_ARGUMENT;
    std::shared_ptr<const Tables<T>> t = c.N ? tables<T>(c.N) : nullptr;
    Shares s(c, side_by_side(c.u) || side_by_side(c.pre) || side_by_side(c.post) || side_by_side(g.gy));
    i64 M = c.N ? t->M : 0, K = c.K;
    bool scalars = g.gskip || c.short_u.taps || c.short_pre.taps || c.short_post.taps;
    i64 count = scalars ? c.D * Worker<T>::scalars(c) : 0;
    std::vector<double> channels(size_t(count * s.parts), 0.0);
    // Sums of the taps' gradients: one place an item where rows are cut, one a thread where they are not.
    Array<C<T>> spectra;
    std::vector<double> taps;
    i64 places = s.parts > 1 ? s.items * s.parts : c.threads;
    if (g.gh && M) spectra.resize(size_t(places * s.filters * M));
    if (g.gh && !M) taps.resize(size_t(places * s.filters * K));
    T* gh = static_cast<T*>(g.gh);
    auto write_taps = [&](Worker<T>& w, i64 item, const C<T>* sum, const double* direct) {
        for (i64 f = 0; f < std::min(s.filters, c.G - item * s.filters); f++) {
            T* out = gh + (item * s.filters + f) * K;
            if (M)
                w.taps_of(sum + f * M, out);
            else
                for (i64 k = 0; k < K; k++) out[k] = T(direct[f * K + k]);
        }
    };
    Workers<T> workers(size_t(c.threads) + 1);
    bool done = parallel(int(c.threads), s.items * s.parts, [&](i64 i, int worker) {
        Worker<T>& w = worker_of(workers, worker, c, &g, s, t);
        i64 item = i / s.parts, part = i % s.parts, place = s.parts > 1 ? i : worker;
        C<T>* sum = g.gh && M ? spectra.data() + place * s.filters * M : nullptr;
        double* direct = g.gh && !M ? taps.data() + place * s.filters * K : nullptr;
        if (sum) std::memset(static_cast<void*>(sum), 0, sizeof(C<T>) * size_t(s.filters * M));
        if (direct) std::fill(direct, direct + s.filters * K, 0.0);
        w.filters_of(item);
        w.rows(item, s.rows * part / s.parts, s.rows * (part + 1) / s.parts, sum, direct,
               count ? channels.data() + count * part : nullptr);
        if (g.gh && s.parts == 1) write_taps(w, item, sum, direct);
    });
    if (done && g.gh && s.parts > 1)
        done = parallel(int(c.threads), s.items, [&](i64 item, int worker) {
            Worker<T>& w = worker_of(workers, worker, c, &g, s, t);
            C<T>* sum = M ? spectra.data() + item * s.parts * s.filters * M : nullptr;
            double* direct = M ? nullptr : taps.data() + item * s.parts * s.filters * K;
            if (M)
                add_parts(sum, s.filters * M, s.parts, s.filters * M);
            else
                add_parts(direct, s.filters * K, s.parts, s.filters * K);
            write_taps(w, item, sum, direct);
        });
    if (!done) return HYENA_MEMORY;
    if (count) {
        add_parts(channels.data(), count, s.parts, count);
        write_scalars<T>(c, g, channels.data());
    }
    return HYENA_OK;
}

// The spectra of h, for c.N.
template <class T>
static int spectra(const HyenaConv& c, void* out) {
    if (!valid(c) || !c.N || c.N != good_length<T>(c.N)) return HYENA_ARGUMENT;
    std::shared_ptr<const Tables<T>> t = tables<T>(c.N);
    bool done = parallel(int(c.threads), c.G, [&](i64 filter, int) {
        Transform<T> transform(t, 1, false);
        Array<T> taps;
        taps.resize(size_t(c.K));
        with_type(c.h.dtype, [&](auto e) {
            using E = decltype(e);
            const E* h = static_cast<const E*>(c.h.data) + filter * c.h.d;
            for (i64 k = 0; k < c.K; k++) taps[size_t(k)] = get<E, T>(h[k * c.h.l]);
        });
        transform.spectrum(taps.data(), c.K, static_cast<C<T>*>(out) + filter * t->M);
    });
    return done ? HYENA_OK : HYENA_MEMORY;
}

static int done(bool all) { return all ? HYENA_OK : HYENA_MEMORY; }

template <class F>
static int guarded(const F& f) {
    try {
        return f();
    } catch (...) {
        return HYENA_MEMORY;
    }
}

}  // namespace hyena

EXPORT const char* hyena_isa(void) { return HYENA_ISA; }
EXPORT const char* hyena_digest(void) { return HYENA_DIGEST; }
EXPORT int hyena_abi(void) { return HYENA_ABI; }

// 2: this processor and system run the avx512 library, 1: avx2, 0: only the portable one.
EXPORT int hyena_cpu_level(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512vl")
               ? 2
               : 1;
#else
    return 0;
#endif
}

// Huge pages for fresh memory, where the system has them.
EXPORT void hyena_advise(void* p, int64_t bytes) { hyena::advise(p, size_t(bytes)); }

// Points of the shortest transform of at least n points; `wide` for float64.
EXPORT int64_t hyena_good_length(int64_t n, int wide) {
    return wide ? hyena::good_length<double>(n) : hyena::good_length<float>(n);
}
EXPORT int hyena_spectrum(const HyenaConv* c, void* out, int wide) {
    return hyena::guarded([&] { return wide ? hyena::spectra<double>(*c, out) : hyena::spectra<float>(*c, out); });
}
// out (G, K) = raw (G, K) times (exp(-|decay| t) + shift), decay (G), t (K); all contiguous, float64 where `wide`.
EXPORT int hyena_window(const void* raw, const void* decay, const void* t, int64_t G, int64_t K, double shift, int threads,
                        void* out, int wide) {
    auto run = [&](auto one) {
        using T = decltype(one);
        return hyena::window<T>(static_cast<const T*>(raw), static_cast<const T*>(decay), static_cast<const T*>(t), G, K, T(shift),
                                threads, static_cast<T*>(out))
                   ? HYENA_OK
                   : HYENA_MEMORY;
    };
    return hyena::guarded([&] { return wide ? run(double{}) : run(float{}); });
}
// x (n, D) = GELU (tanh form) of x + bias (D) or, where that is null, of x; contiguous, float64 where `wide`.
EXPORT int hyena_gelu(void* x, const void* bias, int64_t n, int64_t D, int threads, int wide) {
    auto run = [&](auto one) {
        using T = decltype(one);
        return hyena::gelu<T>(static_cast<T*>(x), static_cast<const T*>(bias), n, D, threads) ? HYENA_OK : HYENA_MEMORY;
    };
    return hyena::guarded([&] { return wide ? run(double{}) : run(float{}); });
}
EXPORT int hyena_forward(const HyenaConv* c, int wide) {
    return hyena::guarded([&] { return wide ? hyena::forward<double>(*c) : hyena::forward<float>(*c); });
}
EXPORT int hyena_backward(const HyenaConv* c, const HyenaGradient* g, int wide) {
    return hyena::guarded([&] { return wide ? hyena::backward<double>(*c, *g) : hyena::backward<float>(*c, *g); });
}
// One token of a gated convolution: u and y of x, which changes nothing; then what is kept takes in x and u.
EXPORT int hyena_step_peek(const HyenaStep* s, int wide) {
    return hyena::done(wide ? hyena::Step<double>(*s).peek() : hyena::Step<float>(*s).peek());
}
EXPORT int hyena_step_commit(const HyenaStep* s, int wide) {
    return hyena::done(wide ? hyena::Step<double>(*s).commit() : hyena::Step<float>(*s).commit());
}
// One token through a block; what its step keeps takes the token in.
EXPORT int hyena_block(const HyenaBlock* b, int wide) {
    return hyena::guarded(
        [&] { return hyena::done(wide ? hyena::TokenBlock<double>(*b).run() : hyena::TokenBlock<float>(*b).run()); });
}
