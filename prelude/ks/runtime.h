/* The contract between a compiled kernel and its host: plain C, and all there is.
 *
 * A host (the torch core, an exported program, a test) fills in one ks_runtime per call and thread. Entries have C
 * linkage, never throw, and keep no state of their own: they may run on disjoint ranges in parallel, each with its own
 * ks_runtime. They return 0, or 1 after error() was called.
 */
#ifndef KS_RUNTIME_H
#define KS_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a kernel stopped for; the host turns it into ksc.errors.KernelRuntimeError. */
enum ks_error {
    KS_ERROR_ASSERT = 1,        /* an assert of the user's program failed */
    KS_ERROR_ZERO_DIVISION = 2, /* an integer was divided by zero */
    KS_ERROR_INDEX = 3,         /* an index was out of range, or a size negative */
    KS_ERROR_RECURSION = 4,     /* recursion came too close to the end of the stack */
    KS_ERROR_MEMORY = 5,        /* the arena could not grow, or a size is too large for 64 bits */
    KS_ERROR_SHAPE = 6,         /* a result has other sizes than the host had computed for it */
    KS_ERROR_DOMAIN = 7,         /* integer arithmetic has no result: NaN as an integer, a negative shift or power */
    KS_ERROR_CALLBACK = 8,      /* a callback failed, or the host has none: code that runs without Python */
    KS_ERROR_OFFSETS = 9        /* a tensor has more elements than offsets of 32 bits reach, and KS_OFFSETS is 32 */
};

/* What is handed to a callback, and the place for what it gives: contiguous; a number has rank 0. */
enum ks_kind { KS_FLOAT32 = 0, KS_FLOAT64 = 1, KS_INT64 = 2, KS_BOOL = 3 };
typedef struct ks_value {
    int kind;
    int rank;
    void *data;
    const int64_t *sizes;
} ks_value;

typedef struct ks_runtime ks_runtime;
/* One part of a loop that is divided: 0, or 1 after error(). */
typedef int (*ks_task)(const ks_runtime *rt, void *context, int part);
struct ks_runtime {
    void *ctx; /* the host's own */
    /* 64-byte aligned memory from the call's arena; NULL, after error(), when there is none left. */
    void *(*alloc)(const ks_runtime *rt, size_t bytes);
    /* A point of the arena, and winding back to it: everything allocated since is gone. */
    size_t (*mark)(const ks_runtime *rt);
    void (*release)(const ks_runtime *rt, size_t mark);
    /* Records an error at a line of the user's file; the first one of a call is kept. The text is copied. */
    void (*error)(const ks_runtime *rt, int code, int line, const char *message);
    /* Recursion stops before its frame goes below this address. */
    const char *stack_limit;
    /* Calls a function of the host's by name; 1 after error(). NULL where the host has none. */
    int (*callback)(const ks_runtime *rt, const char *name, const ks_value *args, int arg_count, const ks_value *results,
                    int result_count);
    /* Into how many parts a loop may be divided: 1 where all had better stay on this thread. NULL where there are no
     * other threads. */
    int (*threads)(const ks_runtime *rt);
    /* Calls task(rt, context, part) for each part below parts, maybe several at once, each with a ks_runtime of its own, and
     * waits for all of them. 1 where one gave 1; the error is then that of the first part that failed. */
    int (*parallel)(const ks_runtime *rt, int parts, ks_task task, void *context);
};

/* An elementwise entry: data and strides (in bytes) list the results first, then the arguments; lane i of operand k
 * is at data[k] + i * strides[k]. Stride 0 is a value shared by all lanes. */
typedef int (*ks_elementwise_entry)(const ks_runtime *rt, char *const *data, const int64_t *strides, int64_t n);

/* A tensor of the host's: element i, j … is at data + i * strides[0] + j * strides[1] … elements. No strides: contiguous,
 * row-major. A scalar has rank 0, and only data is looked at. */
typedef struct ks_tensor {
    void *data;
    const int64_t *sizes;
    const int64_t *strides;
} ks_tensor;

/* A tensor entry: operands lists the results first, then the arguments. Results are contiguous, of the sizes that the host
 * computed, and overlap nothing; arguments may have any strides and are never written. */
typedef int (*ks_tensor_entry)(const ks_runtime *rt, const ks_tensor *operands);

#ifdef __cplusplus
}
#endif

#endif
