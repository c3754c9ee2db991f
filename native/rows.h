// Tensors as they come (strides, half precision) <-> contiguous rows in the dtype of the computation.
#pragma once
#include "abi.h"
#include "front.h"

namespace hyena {

template <class T>
constexpr int DTYPE = sizeof(T) == 4 ? HYENA_F32 : HYENA_F64;

HOT float from_bits(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
HOT uint32_t to_bits(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

struct Bf16 {
    uint16_t bits;
    HOT float get(Bf16 x) { return from_bits(uint32_t(x.bits) << 16); }
    HOT Bf16 put(float x) {  // to nearest, ties to even; NaN stays NaN
        uint32_t b = to_bits(x);
        uint32_t rounded = (b + 0x7fff + ((b >> 16) & 1)) >> 16;
        return {uint16_t((b & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded)};
    }
};
struct Half {
    uint16_t bits;
    HOT float get(Half x) {
        // The exponent's bias by a product: exact, subnormal numbers included.
        uint32_t magnitude = uint32_t(x.bits & 0x7fff) << 13, sign = uint32_t(x.bits & 0x8000) << 16;
        uint32_t bits = to_bits(from_bits(magnitude) * from_bits(0x77800000));
        if (magnitude >= 0x7c00u << 13) bits = magnitude | 0x7f800000;  // infinity and NaN
        return from_bits(bits | sign);
    }
    HOT Half put(float x) {  // to nearest, ties to even
        uint32_t b = to_bits(x), sign = (b >> 16) & 0x8000, a = b & 0x7fffffff;
        if (a > 0x7f800000) return {uint16_t(sign | 0x7e00)};
        if (a >= 0x477ff000) return {uint16_t(sign | 0x7c00)};  // rounds past 65504
        if (a < 0x38800000)                                     // subnormal: the sum rounds at the right place
            return {uint16_t(sign | (to_bits(from_bits(a) + 0.5f) - to_bits(0.5f)))};
        return {uint16_t(sign | ((a + 0xfff + ((a >> 13) & 1) - 0x38000000) >> 13))};
    }
};

template <class E, class T>
HOT T get(E x) {
    if constexpr (std::is_floating_point<E>::value)
        return T(x);
    else
        return T(E::get(x));
}
template <class E, class T>
HOT E put(T x) {
    if constexpr (std::is_floating_point<E>::value)
        return E(x);
    else
        return E::put(float(x));
}

// Calls f with a value of the element's type.
template <class F>
HOT void with_type(int64_t dtype, const F& f) {
    switch (dtype) {
        case HYENA_F32: return f(float{});
        case HYENA_F64: return f(double{});
        case HYENA_BF16: return f(Bf16{});
        default: return f(Half{});
    }
}

// Rows of some channels of a tensor. One channel in the dtype of the computation is used where it stands; anything else goes
// through a copy of `channels` rows.
template <class T>
class Rows {
   public:
    Rows(const HyenaTensor& tensor, i64 L, int channels) : t_(tensor), L_(L), stride_(padded(L)) {
        direct_ = t_.dtype == DTYPE<T> && t_.l == 1;
        if (t_.data && !direct_) copy_.resize(size_t(stride_) * channels);
    }
    bool present() const { return t_.data != nullptr; }

    // Makes channels d .. d + n - 1 of sequence b readable.
    void fetch(i64 b, i64 d, int n) {
        place_at(b, d);
        if (present() && !direct_) with_type(t_.dtype, [&](auto e) { gather<decltype(e)>(n); });
    }
    // Makes them writable; `flush` carries them home.
    void place_at(i64 b, i64 d) { b_ = b, d_ = d; }
    void flush(int n) {
        if (present() && !direct_) with_type(t_.dtype, [&](auto e) { scatter<decltype(e)>(n); });
    }
    // Row c of those, null where the tensor is absent.
    T* row(int c) {
        if (!present()) return nullptr;
        return direct_ ? static_cast<T*>(t_.data) + b_ * t_.b + (d_ + c) * t_.d : copy_.data() + c * stride_;
    }

   private:
    template <class E>
    E* base() const {
        return static_cast<E*>(t_.data) + b_ * t_.b + d_ * t_.d;
    }
    // Channels next to each other are transposed W x W in registers.
    template <class E>
    i64 tiles(int n) const {
        return std::is_same<E, T>::value && t_.d == 1 && n % W<T> == 0 ? L_ / W<T> * W<T> : 0;
    }
    template <class E>
    void gather(int n) {
        const E* p = base<E>();
        i64 tiled = tiles<E>(n);
        if constexpr (std::is_same<E, T>::value)
            for (i64 l = 0; l < tiled; l += W<T>)
                for (int c = 0; c < n; c += W<T>) {
                    V<T> v[W<T>];
                    for (int i = 0; i < W<T>; i++) v[i] = load(p + (l + i) * t_.l + c);
                    transpose<T>(v);
                    for (int i = 0; i < W<T>; i++) store(copy_.data() + (c + i) * stride_ + l, v[i]);
                }
        if (t_.l == 1) {
            for (int c = 0; c < n; c++)
                for (i64 l = tiled; l < L_; l++) copy_[c * stride_ + l] = get<E, T>(p[c * t_.d + l]);
        } else {
            for (i64 l = tiled; l < L_; l++)
                for (int c = 0; c < n; c++) copy_[c * stride_ + l] = get<E, T>(p[c * t_.d + l * t_.l]);
        }
    }
    template <class E>
    void scatter(int n) {
        E* p = base<E>();
        i64 tiled = tiles<E>(n);
        if constexpr (std::is_same<E, T>::value)
            for (i64 l = 0; l < tiled; l += W<T>)
                for (int c = 0; c < n; c += W<T>) {
                    V<T> v[W<T>];
                    for (int i = 0; i < W<T>; i++) v[i] = load(copy_.data() + (c + i) * stride_ + l);
                    transpose<T>(v);
                    for (int i = 0; i < W<T>; i++) store(p + (l + i) * t_.l + c, v[i]);
                }
        if (t_.l == 1) {
            for (int c = 0; c < n; c++)
                for (i64 l = tiled; l < L_; l++) p[c * t_.d + l] = put<E, T>(copy_[c * stride_ + l]);
        } else {
            for (i64 l = tiled; l < L_; l++)
                for (int c = 0; c < n; c++) p[c * t_.d + l * t_.l] = put<E, T>(copy_[c * stride_ + l]);
        }
    }

    HyenaTensor t_;
    i64 L_, stride_, b_ = 0, d_ = 0;
    bool direct_;
    Array<T> copy_;
};

}  // namespace hyena
