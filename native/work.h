// All rows of a long convolution: how they are shared among threads, and what a thread does with its share.
//
// An item is one filter (or a few, where several stand side by side in memory) with the rows of all sequences that use it, so
// that a filter is transformed once and its gradient summed in one place. Where there are fewer filters than threads would
// like, the rows of an item are cut into parts, whose sums are added up afterwards. What an item computes depends on the number
// of threads through the number of parts alone.
#pragma once
#include <algorithm>

#include "direct.h"
#include "rows.h"
#include "threads.h"

namespace hyena {

struct Shares {
    i64 size;     // channels of a group
    i64 width;    // channels that are worked side by side
    i64 filters;  // of an item
    i64 items, parts;
    i64 rows;     // (block of channels, sequence) pairs of an item

    Shares(const HyenaConv& c, bool side_by_side) {
        size = c.D / c.G;
        // Channels that are neighbours in memory are fetched together: a line of the cache holds 16 numbers. Short rows are worked
        // together too, so that several lie one after the other before the next sequence, far away, is turned to.
        width = side_by_side ? (c.L <= 16384 ? 16 : 8) : std::clamp<i64>(8192 / c.L, 1, 16);
        width = std::min(width, c.D);
        filters = size >= width ? 1 : std::min(c.G, width / size);
        width = std::min(width, size * filters);
        items = (c.G + filters - 1) / filters;
        rows = (size * filters + width - 1) / width * c.B;
        i64 wanted = 4 * c.threads;
        parts = c.threads <= 1 || items >= wanted ? 1 : std::min(std::max<i64>(rows, 1), (wanted + items - 1) / items);
    }
};

// What one thread holds.
template <class T>
class Worker {
   public:
    Worker(const HyenaConv& c, const HyenaGradient* g, const Shares& s, std::shared_ptr<const Tables<T>> tables)
        : c_(c), g_(g), s_(s), M_(tables ? tables->M : 0), u_(c.u, c.L, int(s.width)), pre_(c.pre, c.L, int(s.width)),
          post_(c.post, c.L, int(s.width)), y_(g ? HyenaTensor{} : c.y, c.L, int(s.width)),
          gy_(g ? g->gy : HyenaTensor{}, c.L, int(s.width)), gu_(g ? g->gu : HyenaTensor{}, c.L, int(s.width)),
          gpre_(g ? g->gpre : HyenaTensor{}, c.L, int(s.width)), gpost_(g ? g->gpost : HyenaTensor{}, c.L, int(s.width)) {
        if (M_)
            transform_ = std::make_unique<Transform<T>>(tables, c.L, g != nullptr);
        else
            direct_ = std::make_unique<Direct<T>>(c.L, c.K, g != nullptr);
        if (M_ && !c.spectrum) spectra_.resize(size_t(s.filters * M_));
        if (!M_ || !c.spectrum) taps_.resize(size_t(s.filters * c.K));
        for (int i = 0; i < 3; i++)
            if (shorts(i).taps) {
                short_rows_[i].resize(size_t(padded(c.L)));
                if (g) short_grads_[i].resize(size_t(padded(c.L)));
            }
    }

    // Spectra or taps of the filters of an item.
    void filters_of(i64 item) {
        first_ = item * s_.filters;
        i64 n = std::min(s_.filters, c_.G - first_);
        if (M_ && c_.spectrum) return;
        with_type(c_.h.dtype, [&](auto e) {
            using E = decltype(e);
            for (i64 f = 0; f < n; f++) {
                const E* h = static_cast<const E*>(c_.h.data) + (first_ + f) * c_.h.d;
                for (i64 k = 0; k < c_.K; k++) taps_[size_t(f * c_.K + k)] = get<E, T>(h[k * c_.h.l]);
            }
        });
        if (M_)
            for (i64 f = 0; f < n; f++) transform_->spectrum(&taps_[size_t(f * c_.K)], c_.K, &spectra_[size_t(f * M_)]);
    }

    // Rows [from, to) of an item. `sums`: of the taps' gradients, an item's filters after each other (M registers each, or K
    // numbers tap by tap); `channels`: of what each channel's scalars receive. Both null where not wanted.
    void rows(i64 item, i64 from, i64 to, C<T>* spectra, double* taps, double* channels) {
        first_ = item * s_.filters;
        i64 begin = first_ * s_.size, end = std::min(first_ + s_.filters, c_.G) * s_.size;
        for (i64 r = from; r < to; r++) {
            i64 d = begin + r / c_.B * s_.width, b = r % c_.B;
            int n = int(std::min(s_.width, end - d));
            if (n <= 0) continue;
            u_.fetch(b, d, n), pre_.fetch(b, d, n), post_.fetch(b, d, n), gy_.fetch(b, d, n);
            y_.place_at(b, d), gu_.place_at(b, d), gpre_.place_at(b, d), gpost_.place_at(b, d);
            for (int c = 0; c < n; c++) {
                if (g_)
                    backward(d + c, c, spectra, taps, channels);
                else
                    forward(d + c, c);
            }
            y_.flush(n), gu_.flush(n), gpre_.flush(n), gpost_.flush(n);
        }
    }

    // The gradient of one filter's taps from its summed spectrum.
    void taps_of(const C<T>* sum, T* gh) { transform_->taps(sum, c_.K, gh); }

    // Numbers that a channel's scalars receive: skip, then taps, bias and offset of the three short convolutions.
    static i64 scalars(const HyenaConv& c) { return 1 + 3 * (c.S + 2); }

   private:
    const HyenaShort& shorts(int i) const { return i == 0 ? c_.short_u : i == 1 ? c_.short_pre : c_.short_post; }
    const C<T>* spectrum_of(i64 filter) {
        if (c_.spectrum) return static_cast<const C<T>*>(c_.spectrum) + filter * M_;
        return &spectra_[size_t((filter - first_) * M_)];
    }
    // A signal's row as it enters the convolution: through its short convolution where it has one.
    const T* entering(int i, const T* row, i64 d) {
        const HyenaShort& s = shorts(i);
        if (!row || !s.taps) return row;
        T bias = s.bias ? static_cast<const T*>(s.bias)[d] : T(0);
        const T* taps = static_cast<const T*>(s.taps) + d * c_.S;
        T* out = short_rows_[i].data();
        T offset = offset_of(s, d);
        for (i64 k = 0; k < c_.S; k++) bias += offset * taps[k];
        convolve_taps(row, c_.L, taps, c_.S, bias, out);
        for (i64 t = 0; t < std::min(c_.S - 1, c_.L); t++)  // before the sequence there is no offset
            for (i64 k = t + 1; k < c_.S; k++) out[t] -= offset * taps[k];
        return out;
    }
    static T offset_of(const HyenaShort& s, i64 d) { return s.offset ? static_cast<const T*>(s.offset)[d] : T(0); }
    Row<T> row_of(i64 d, int c) {
        Signal<T> x{entering(0, u_.row(c), d), entering(1, pre_.row(c), d)};
        T skip = c_.skip ? static_cast<const T*>(c_.skip)[d] : T(0);
        return {x, c_.L, entering(2, post_.row(c), d), skip, y_.row(c)};
    }
    void forward(i64 d, int c) {
        Row<T> row = row_of(d, c);
        i64 f = d / s_.size;
        if (M_)
            transform_->forward(row, spectrum_of(f));
        else
            direct_->forward(row, &taps_[size_t((f - first_) * c_.K)], c_.K);
    }
    void backward(i64 d, int c, C<T>* spectra, double* taps, double* channels) {
        Row<T> row = row_of(d, c);
        Rows<T>* grads[] = {&gu_, &gpre_, &gpost_};
        T* into[3];
        for (int i = 0; i < 3; i++) into[i] = shorts(i).taps && grads[i]->present() ? short_grads_[i].data() : grads[i]->row(c);
        RowGradient<T> g{gy_.row(c), into[0], into[1], into[2]};
        i64 f = d / s_.size, local = f - first_;
        if (M_)
            transform_->backward(row, g, spectrum_of(f), spectra ? spectra + local * M_ : nullptr);
        else
            direct_->backward(row, g, &taps_[size_t(local * c_.K)], c_.K, taps ? taps + local * c_.K : nullptr);
        if (!channels) return;
        double* scalars = channels + d * Worker::scalars(c_);
        if (g_->gskip) scalars[0] += skip_gradient(row, g.gy);
        const T* inputs[] = {u_.row(c), pre_.row(c), post_.row(c)};
        for (int i = 0; i < 3; i++) {
            if (!shorts(i).taps || !grads[i]->present()) continue;
            double* s = scalars + 1 + i * (c_.S + 2);
            correlate_taps(into[i], c_.L, static_cast<const T*>(shorts(i).taps) + d * c_.S, c_.S, grads[i]->row(c));
            gradient_of_taps(inputs[i], into[i], c_.L, c_.S, s);
            double sum = total(into[i], c_.L), offset = double(offset_of(shorts(i), d));
            s[c_.S] += sum;
            s[c_.S + 1] += total(grads[i]->row(c), c_.L);
            for (i64 k = 0; k < std::min(c_.S, c_.L); k++) {  // tap k met the offset from token k on
                s[k] += offset * sum;
                sum -= double(into[i][k]);
            }
        }
    }
    // sum over t of gate gy x
    static double skip_gradient(const Row<T>& row, const T* gy) {
        constexpr i64 LONGEST_SUM = 4096;
        Signal<T> gc{gy, row.gate};
        double sum = 0;
        for (i64 s = 0; s < row.n; s += LONGEST_SUM) {
            V<T> part = {};
            i64 end = std::min(row.n, s + LONGEST_SUM);
            for (i64 t = s; t < end; t += W<T>) part += Signal<T>::at(gc, t, end) * Signal<T>::at(row.x, t, end);
            for (int i = 0; i < W<T>; i++) sum += double(part[i]);
        }
        return sum;
    }

    const HyenaConv& c_;
    const HyenaGradient* g_;
    const Shares& s_;
    i64 M_, first_ = 0;
    Rows<T> u_, pre_, post_, y_, gy_, gu_, gpre_, gpost_;
    std::unique_ptr<Transform<T>> transform_;
    std::unique_ptr<Direct<T>> direct_;
    Array<C<T>> spectra_;
    Array<T> taps_, short_rows_[3], short_grads_[3];
};

}  // namespace hyena
