// What Python and the kernel agree on. HYENA_ABI changes with it.
#pragma once
#include <stdint.h>

#define HYENA_ABI 5

enum { HYENA_F32, HYENA_F64, HYENA_BF16, HYENA_F16 };
enum { HYENA_IDENTITY, HYENA_GELU, HYENA_GELU_TANH, HYENA_RELU, HYENA_SILU };
enum { HYENA_OK, HYENA_MEMORY, HYENA_ARGUMENT };

// A tensor (B, D, L): strides count elements; data null: absent.
typedef struct {
    void* data;
    int64_t dtype, b, d, l;
} HyenaTensor;

// A short convolution in front of a signal: taps (D, S), bias (D), and offset (D), which is added to the signal before (as the
// bias of a projection is); contiguous, in the dtype of the computation; null: none.
typedef struct {
    const void *taps, *bias, *offset;
} HyenaShort;

// y = post (h conv (pre u) + skip pre u), where u, pre and post may each come out of a short convolution.
typedef struct {
    int64_t B, D, L, G, K;
    int64_t N;        // points of the transform, from hyena_good_length; 0: tap by tap
    int64_t S;        // taps of the short convolutions
    int64_t threads;
    HyenaTensor u, pre, post, y;
    HyenaTensor h;            // (1, G, K); its data may be null where a spectrum is given
    const void* spectrum;     // G rows of 2 N numbers from hyena_spectrum, or null
    const void* skip;         // D numbers, or null
    HyenaShort short_u, short_pre, short_post;
} HyenaConv;

// The gradients for gy, each null where not wanted: of tensors as these are, of h (G, K), skip (D) and the short convolutions
// (D, S) and (D) contiguous, in the dtype of the computation.
typedef struct {
    HyenaTensor gy, gu, gpre, gpost;
    void *gh, *gskip;
    void *gtaps_u, *gbias_u, *goffset_u;
    void *gtaps_pre, *gbias_pre, *goffset_pre;
    void *gtaps_post, *gbias_post, *goffset_post;
} HyenaGradient;

// One token (B, 3 D) of y = q (h conv (k v) + skip k v): q, k, v are the thirds of a short convolution, h is H taps and then S
// modes. All contiguous and in the dtype of the computation, but for the modes and what is theirs, which are float64.
typedef struct {
    int64_t B, D, K, S, P, H, threads;  // P numbers a mode: 2, complex; 1, real
    const void *taps, *bias;        // (3 D, K), (3 D)
    const double *lam, *read;       // (D, S, P): of an advance; (D, P S): of a reading
    const void *now, *head, *skip;  // (D): tap 0; (D, H): what meets the inputs kept; (D), or null
    void *window, *kept;            // (B, 3 D, K - 1) and (B, D, H): the inputs kept, the newest last
    double* modes;                  // (B, D, S, P)
    const void* x;                  // (B, 3 D)
    void *u, *y;                    // (B, D)
} HyenaStep;

typedef struct {
    const void *weight, *bias;  // bias null: none
} HyenaLinear;
typedef struct {
    const void *weight, *bias;  // bias null: no mean is taken off (RMS)
    double eps;
    int64_t outside;  // 1: eps is added to the root and not to what is under it
} HyenaNorm;

// One token of out = x + mixer(norm(x)), out + mlp(norm(out)), the mixer a projection, a step and a projection. All contiguous, in
// one dtype; of the step x, u and y are not read.
typedef struct {
    HyenaStep step;
    HyenaNorm mixer_norm, mlp_norm;
    HyenaLinear in, mixed;       // (3 D, D), (D, D)
    HyenaLinear gate, up, down;  // (hidden, D), its weight null: down(act(up)); else down(act(gate) up); (hidden, D); (D, hidden)
    int64_t hidden, activation;
    const void* x;  // (B, D)
    void* out;      // (B, D)
} HyenaBlock;
