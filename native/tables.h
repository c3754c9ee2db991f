// The transform's shape and constants for one length N.
//
// The transform evaluates a real row x of N points, read as the polynomial sum x_n X^n, at the N roots of X^N = i. It descends a
// tree: a node stands for the remainder modulo X^m - r^R and has R children modulo X^(m/R) - (a root of that), so a node needs
// the powers of one number r, the same for all of its columns, and nothing is twisted, reversed or untwisted. The product of two
// rows modulo X^N - i has in its real part the causal convolution (terms below N) and in its imaginary part the terms from N
// on, which belong to the next block of a longer row.
//
// The first W children (one for each lane of a register) are made by the front (front.h), which puts them into lanes. All
// further levels work on whole registers: lane k of the constants belongs to child k. A position counts registers, 0 .. M - 1.
#pragma once
#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "memory.h"
#include "vec.h"

namespace hyena {

// Where position v of a transform lies in its buffer: one register of padding after each 64 and each 4096, so that the
// columns of a pass, which are powers of two apart, do not all fall into one set of the cache.
HOT i64 place(i64 v) { return v + (v >> 6) + (v >> 12); }
constexpr i64 RUN = 64;  // positions without padding between them

constexpr int LEAF = 4;  // positions of the smallest node, whose two levels are fused with the product

struct Level {
    int radix;      // 2, 3, 4, 5, 8 = 2 x 4 or 16 = 4 x 4
    i64 m;          // positions of a child
    i64 constants;  // complex constants of a node: r, r^2, ... of each of its steps
    i64 offset;     // where those of its first node begin
};

template <class T>
struct Tables {
    i64 N, M;
    std::vector<Level> levels;  // from the root down
    Array<C<T>> constants;      // of all levels
    Array<C<T>> leaves;         // r and r^2 of each leaf
    T front[2 * W<T>];          // constants of the front, in the order in which it uses them

    explicit Tables(i64 n) : N(n), M(n / W<T>) {
        shape();
        std::vector<i64> lanes = front_constants();
        i64 scale = 4 * W<T>;  // phases are whole numbers over `scale` turns
        i64 total = 0, nodes = 1;
        for (Level& level : levels) {
            level.offset = total;
            total += nodes * level.constants;
            nodes *= level.radix;
        }
        constants.resize(total);
        leaves.resize(nodes * 2);
        std::vector<i64> phases = lanes;  // of all nodes of a level, W lanes each
        for (const Level& level : levels) {
            std::vector<i64> children(phases.size() * level.radix);
            for (size_t node = 0; node * W<T> < phases.size(); node++)
                step(level.radix, &phases[node * W<T>], scale, &constants[level.offset + node * level.constants],
                     &children[node * level.radix * W<T>]);
            phases.swap(children);
            scale *= level.radix;
        }
        for (i64 node = 0; node < nodes; node++)
            for (int k = 0; k < W<T>; k++)
                for (int power = 1; power <= 2; power++)
                    set(leaves[2 * node + power - 1], k, phases[node * W<T> + k] * power, scale * LEAF);
    }

   private:
    // Radices from the root down: an odd one first, then 16 where the data is largest, then what is left over.
    void shape() {
        i64 m = M;
        auto push = [&](int radix) {
            m /= radix;
            static const int count[] = {0, 0, 1, 2, 3, 4, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 15};
            levels.push_back({radix, m, count[radix], 0});
        };
        for (int odd : {3, 5})
            if (M % odd == 0) push(odd);
        int bits = 0;
        while ((i64(LEAF) << bits) < m) bits++;
        int last = bits % 4 == 0 ? 0 : 1 << (bits % 4);  // 2, 4 or 8 above the leaves
        if (bits % 4 == 1 && bits > 1) {                 // 16 x 2 is 8 x 4 with less traffic
            for (; bits > 5; bits -= 4) push(16);
            push(8);
            push(4);
            return;
        }
        for (; bits >= 4; bits -= 4) push(16);
        if (last) push(last);
    }

    static void set(C<T>& c, int lane, i64 phase, i64 scale) {
        const long double turn = 6.283185307179586476925286766559005768L;
        double angle = double(turn * (long double)(phase % scale) / (long double)scale);
        c.re[lane] = T(std::cos(angle));
        c.im[lane] = T(std::sin(angle));
    }

    // Constants and the children's phases of a node whose phases are p / scale, W lanes.
    static void step(int radix, const i64* p, i64 scale, C<T>* out, i64* children) {
        if (radix == 8 || radix == 16) {
            int first = radix / 4;
            i64 between[4 * W<T>];
            step(first, p, scale, out, between);
            for (int j = 0; j < first; j++)
                step(4, between + j * W<T>, scale * first, out + (first - 1) + 3 * j, children + j * 4 * W<T>);
            return;
        }
        static const int order4[] = {0, 2, 1, 3};  // roots r, -r, i r, -i r
        for (int k = 0; k < W<T>; k++) {
            for (int power = 1; power < radix; power++) set(out[power - 1], k, p[k] * power, scale * radix);
            for (int j = 0; j < radix; j++) children[j * W<T> + k] = p[k] + scale * (radix == 4 ? order4[j] : j);
        }
    }

    // Constants of the front's complex steps, and the phases of its W results over 4 W turns.
    std::vector<i64> front_constants() {
        std::vector<i64> phases{1, 5};  // over 8 turns: the two halves of X^W - i
        int next = 0;
        i64 scale = 8;
        for (int size = W<T> / 2; size > 1;) {
            int radix = size % 4 == 0 && size != 8 ? 4 : 2;
            static const int order[2][4] = {{0, 1}, {0, 2, 1, 3}};
            std::vector<i64> children;
            for (i64 p : phases) {
                for (int power = 1; power < radix; power++) {
                    const double turn = 6.283185307179586476925286766559;
                    front[next++] = T(std::cos(turn * double(p * power) / double(scale * radix)));
                    front[next++] = T(std::sin(turn * double(p * power) / double(scale * radix)));
                }
                for (int j = 0; j < radix; j++) children.push_back(p + scale * order[radix == 4][j]);
            }
            phases.swap(children);
            scale *= radix;
            size /= radix;
        }
        return phases;
    }
};

// The shortest length of at least n points that the transform has: W x {1, 3, 5} x a power of two of at least W and LEAF.
template <class T>
inline i64 good_length(i64 n) {
    i64 best = 0;
    for (int odd : {1, 3, 5}) {
        i64 length = i64(W<T>) * (W<T> < LEAF ? LEAF : W<T>) * odd;
        while (length < n) length *= 2;
        if (best == 0 || length < best) best = length;
    }
    return best;
}

// Tables are made once a length and shared; the least recently used go when there are too many points.
template <class T>
inline std::shared_ptr<const Tables<T>> tables(i64 N) {
    struct Entry {
        std::shared_ptr<const Tables<T>> tables;
        i64 used;
    };
    static std::mutex mutex;
    static std::map<i64, Entry> kept;
    static i64 clock = 0, points = 0;
    constexpr i64 MOST = i64(1) << 22;
    std::lock_guard<std::mutex> lock(mutex);
    auto found = kept.find(N);
    if (found == kept.end()) {
        while (!kept.empty() && points + N > MOST) {
            auto oldest = kept.begin();
            for (auto it = kept.begin(); it != kept.end(); ++it)
                if (it->second.used < oldest->second.used) oldest = it;
            points -= oldest->first;
            kept.erase(oldest);
        }
        found = kept.emplace(N, Entry{std::make_shared<const Tables<T>>(N), 0}).first;
        points += N;
    }
    found->second.used = ++clock;
    return found->second.tables;
}

}  // namespace hyena
