// One level of the transform: each column of a node becomes a column of its children, or back.
#pragma once
#include "tables.h"

namespace hyena {

// --- butterflies: R complex registers in place; w holds r, r^2, ... -------------------------------------------------------

template <class T>
HOT void down2(C<T>& a, C<T>& b, const C<T>* w) {
    C<T> t = b * w[0];
    b = a - t;
    a = a + t;
}
template <class T>
HOT void up2(C<T>& a, C<T>& b, const C<T>* w) {
    C<T> t = a - b;
    a = a + b;
    b = mulconj(t, w[0]);
}
template <class T>
HOT void down4(C<T>& a, C<T>& b, C<T>& c, C<T>& d, C<T> r, C<T> r2, C<T> r3) {
    b = b * r, c = c * r2, d = d * r3;
    C<T> s = a + c, t = a - c, u = b + d, v = times_i(b - d);
    a = s + u, b = s - u, c = t + v, d = t - v;
}
template <class T>
HOT void up4(C<T>& a, C<T>& b, C<T>& c, C<T>& d, C<T> r, C<T> r2, C<T> r3) {
    C<T> s = a + b, u = a - b, t = c + d, v = times_i(c - d);
    a = s + t, b = mulconj(u - v, r), c = mulconj(s - t, r2), d = mulconj(u + v, r3);
}
template <class T>
HOT void down3(C<T>& a, C<T>& b, C<T>& c, const C<T>* w) {
    const V<T> half = splat<T>(T(0.5)), s = splat<T>(T(0.86602540378443864676));
    b = b * w[0], c = c * w[1];
    C<T> t = b + c, v = times_i(scaled(b - c, s)), u = a - scaled(t, half);
    a = a + t, b = u + v, c = u - v;
}
template <class T>
HOT void up3(C<T>& a, C<T>& b, C<T>& c, const C<T>* w) {
    const V<T> half = splat<T>(T(0.5)), s = splat<T>(T(0.86602540378443864676));
    C<T> t = b + c, v = times_i(scaled(b - c, s)), u = a - scaled(t, half);
    a = a + t, b = mulconj(u - v, w[0]), c = mulconj(u + v, w[1]);
}
// The five-point transform of (a, b, c, d, e) with sign +1 or -1 of the imaginary unit.
template <class T>
HOT void five(C<T>& a, C<T>& b, C<T>& c, C<T>& d, C<T>& e, T sign) {
    const V<T> c1 = splat<T>(T(0.30901699437494742410)), c2 = splat<T>(T(-0.80901699437494742410));
    const V<T> s1 = splat<T>(sign * T(0.95105651629515357212)), s2 = splat<T>(sign * T(0.58778525229247312917));
    C<T> p = b + e, q = c + d, m = b - e, n = c - d;
    C<T> u = a + scaled(p, c1) + scaled(q, c2), v = a + scaled(p, c2) + scaled(q, c1);
    C<T> x = times_i(scaled(m, s1) + scaled(n, s2)), y = times_i(scaled(m, s2) - scaled(n, s1));
    a = a + p + q, b = u + x, e = u - x, c = v + y, d = v - y;
}

// --- passes ---------------------------------------------------------------------------------------------------------------

// The columns of a node in one run of the buffer: x[i] is where its i-th part stands.
template <class T, int R>
HOT void down_run(C<T>** x, i64 n, const C<T>* w) {
    for (i64 c = 0; c < n; c++) {
        if constexpr (R == 2) {
            C<T> a = x[0][c], b = x[1][c];
            down2(a, b, w);
            x[0][c] = a, x[1][c] = b;
        } else if constexpr (R == 3) {
            C<T> a = x[0][c], b = x[1][c], d = x[2][c];
            down3(a, b, d, w);
            x[0][c] = a, x[1][c] = b, x[2][c] = d;
        } else if constexpr (R == 4) {
            C<T> a = x[0][c], b = x[1][c], d = x[2][c], e = x[3][c];
            down4(a, b, d, e, w[0], w[1], w[2]);
            x[0][c] = a, x[1][c] = b, x[2][c] = d, x[3][c] = e;
        } else if constexpr (R == 5) {
            C<T> a = x[0][c], b = x[1][c] * w[0], d = x[2][c] * w[1], e = x[3][c] * w[2], f = x[4][c] * w[3];
            five(a, b, d, e, f, T(1));
            x[0][c] = a, x[1][c] = b, x[2][c] = d, x[3][c] = e, x[4][c] = f;
        } else {  // two steps by way of the stack: one pass over memory
            constexpr int F = R / 4;
            C<T> y[R];
            for (int i = 0; i < 4; i++) {
                if constexpr (F == 4) {
                    C<T> a = x[i][c], b = x[i + 4][c], d = x[i + 8][c], e = x[i + 12][c];
                    down4(a, b, d, e, w[0], w[1], w[2]);
                    y[i] = a, y[i + 4] = b, y[i + 8] = d, y[i + 12] = e;
                } else {
                    C<T> a = x[i][c], b = x[i + 4][c];
                    down2(a, b, w);
                    y[i] = a, y[i + 4] = b;
                }
            }
            for (int j = 0; j < F; j++) {
                const C<T>* v = w + (F - 1) + 3 * j;
                C<T> a = y[4 * j], b = y[4 * j + 1], d = y[4 * j + 2], e = y[4 * j + 3];
                down4(a, b, d, e, v[0], v[1], v[2]);
                x[4 * j][c] = a, x[4 * j + 1][c] = b, x[4 * j + 2][c] = d, x[4 * j + 3][c] = e;
            }
        }
    }
}
template <class T, int R>
HOT void up_run(C<T>** x, i64 n, const C<T>* w) {
    for (i64 c = 0; c < n; c++) {
        if constexpr (R == 2) {
            C<T> a = x[0][c], b = x[1][c];
            up2(a, b, w);
            x[0][c] = a, x[1][c] = b;
        } else if constexpr (R == 3) {
            C<T> a = x[0][c], b = x[1][c], d = x[2][c];
            up3(a, b, d, w);
            x[0][c] = a, x[1][c] = b, x[2][c] = d;
        } else if constexpr (R == 4) {
            C<T> a = x[0][c], b = x[1][c], d = x[2][c], e = x[3][c];
            up4(a, b, d, e, w[0], w[1], w[2]);
            x[0][c] = a, x[1][c] = b, x[2][c] = d, x[3][c] = e;
        } else if constexpr (R == 5) {
            C<T> a = x[0][c], b = x[1][c], d = x[2][c], e = x[3][c], f = x[4][c];
            five(a, b, d, e, f, T(-1));
            x[0][c] = a, x[1][c] = mulconj(b, w[0]), x[2][c] = mulconj(d, w[1]), x[3][c] = mulconj(e, w[2]);
            x[4][c] = mulconj(f, w[3]);
        } else {
            constexpr int F = R / 4;
            C<T> y[R];
            for (int j = 0; j < F; j++) {
                const C<T>* v = w + (F - 1) + 3 * j;
                C<T> a = x[4 * j][c], b = x[4 * j + 1][c], d = x[4 * j + 2][c], e = x[4 * j + 3][c];
                up4(a, b, d, e, v[0], v[1], v[2]);
                y[4 * j] = a, y[4 * j + 1] = b, y[4 * j + 2] = d, y[4 * j + 3] = e;
            }
            for (int i = 0; i < 4; i++) {
                if constexpr (F == 4) {
                    C<T> a = y[i], b = y[i + 4], d = y[i + 8], e = y[i + 12];
                    up4(a, b, d, e, w[0], w[1], w[2]);
                    x[i][c] = a, x[i + 4][c] = b, x[i + 8][c] = d, x[i + 12][c] = e;
                } else {
                    C<T> a = y[i], b = y[i + 4];
                    up2(a, b, w);
                    x[i][c] = a, x[i + 4][c] = b;
                }
            }
        }
    }
}

template <class T, int R, bool DOWN>
static void pass(C<T>* buffer, i64 position, i64 m, const C<T>* w) {
    for (i64 c = 0; c < m; c += RUN) {
        C<T>* x[R];
        for (int i = 0; i < R; i++) x[i] = buffer + place(position + i * m + c);
        i64 n = m - c < RUN ? m - c : RUN;
        if constexpr (DOWN)
            down_run<T, R>(x, n, w);
        else
            up_run<T, R>(x, n, w);
    }
}
template <class T, bool DOWN>
static void pass(C<T>* buffer, i64 position, const Level& level, const C<T>* w) {
    switch (level.radix) {
        case 2: return pass<T, 2, DOWN>(buffer, position, level.m, w);
        case 3: return pass<T, 3, DOWN>(buffer, position, level.m, w);
        case 4: return pass<T, 4, DOWN>(buffer, position, level.m, w);
        case 5: return pass<T, 5, DOWN>(buffer, position, level.m, w);
        case 8: return pass<T, 8, DOWN>(buffer, position, level.m, w);
        default: return pass<T, 16, DOWN>(buffer, position, level.m, w);
    }
}

// --- the leaves: their two levels, in registers ---------------------------------------------------------------------------

template <class T>
struct Leaf {
    C<T> a, b, c, d;
};
template <class T>
struct Roots {
    C<T> r, r2, r3;
    explicit Roots(const C<T>* w) : r(w[0]), r2(w[1]), r3(w[0] * w[1]) {}
};
template <class T>
HOT Leaf<T> read(const C<T>* p) {
    return {p[0], p[1], p[2], p[3]};
}
template <class T>
HOT void write(C<T>* p, const Leaf<T>& x) {
    p[0] = x.a, p[1] = x.b, p[2] = x.c, p[3] = x.d;
}
template <class T>
HOT Leaf<T> down(Leaf<T> x, const Roots<T>& w) {
    down4(x.a, x.b, x.c, x.d, w.r, w.r2, w.r3);
    return x;
}
template <class T>
HOT Leaf<T> up(Leaf<T> x, const Roots<T>& w) {
    up4(x.a, x.b, x.c, x.d, w.r, w.r2, w.r3);
    return x;
}

// --- the walk -------------------------------------------------------------------------------------------------------------

// Depth first: down through a node, its children, up again; so that a child's columns are still in the cache. `at_leaf` is
// called with the position of each leaf, in order, and does there what is to be done with all buffers.
template <class T, int DOWNS, int UPS, class AtLeaf>
static void walk(const Tables<T>& t, size_t depth, i64 position, i64 node, C<T>* const* buffers, const AtLeaf& at_leaf) {
    if (depth == t.levels.size()) return at_leaf(position);
    const Level& level = t.levels[depth];
    const C<T>* w = t.constants.data() + level.offset + node * level.constants;
    for (int b = 0; b < DOWNS; b++) pass<T, true>(buffers[b], position, level, w);
    if (depth + 1 == t.levels.size())
        for (int j = 0; j < level.radix; j++) at_leaf(position + j * LEAF);
    else
        for (int j = 0; j < level.radix; j++)
            walk<T, DOWNS, UPS>(t, depth + 1, position + j * level.m, node * level.radix + j, buffers, at_leaf);
    for (int b = 0; b < UPS; b++) pass<T, false>(buffers[b], position, level, w);
}
template <class T, int DOWNS, int UPS, class AtLeaf>
static void walk(const Tables<T>& t, C<T>* const* buffers, const AtLeaf& at_leaf) {
    walk<T, DOWNS, UPS>(t, 0, 0, 0, buffers, at_leaf);
}

}  // namespace hyena
