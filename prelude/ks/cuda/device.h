/* The contract between a compiled CUDA kernel and its host: plain C, and all there is.
 *
 * Entries have C linkage, never throw, and put one grid on the stream; they wait for nothing, and allocate nothing. They return 0,
 * a cudaError_t, or a ks_cuda_refusal. All that goes wrong while the grid runs is written to ks_cuda_state and ks_cuda_report, where
 * the host finds it when it next looks; what a grid has written is then worth nothing. A host that will not look lets it trap, as
 * PyTorch's own device asserts do.
 */
#ifndef KS_CUDA_DEVICE_H
#define KS_CUDA_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "ks/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Why an entry launched nothing; cudaError_t has no negative numbers. */
enum ks_cuda_refusal {
    KS_CUDA_RANK = -1,    /* an operand has more dimensions than KS_CUDA_MOST_DIMENSIONS */
    KS_CUDA_SCRATCH = -2  /* scratch_bytes is less than the blocks need to combine numbers */
};

#define KS_CUDA_MOST_DIMENSIONS 8

/* In device memory, all zero at first. Grids that may run at the same time, so those of different streams, must not share one. After
 * an error it has to be set to zero again; until then nothing that is launched with it does anything. */
typedef struct ks_cuda_state {
    unsigned arrived;    /* blocks at the barrier of the grid */
    unsigned phase;      /* barriers passed */
    int failed;          /* an ks_error, or 0 */
    int line;            /* of the user's file */
    char message[240];
    unsigned long long scratch_wanted;            /* with KS_ERROR_MEMORY: what scratch_bytes, if not 0, and … */
    unsigned long long scratch_wanted_per_thread; /* … scratch_per_thread should have been at least, so far as is known */
} ks_cuda_state;

/* The same for a host that has waited for the grid: in memory of the host that the device can write to. */
typedef struct ks_cuda_report {
    int failed; /* written last */
    int line;
    char message[240];
    const void *owner; /* that of the launch */
    unsigned long long scratch_wanted, scratch_wanted_per_thread;
} ks_cuda_report;

typedef struct ks_cuda {
    void *stream; /* a cudaStream_t */
    ks_cuda_state *state;
    ks_cuda_report *report; /* may be NULL */
    const void *owner;      /* what the host knows the launch by */
    int traps;              /* an error takes the context with it, and nobody can read what was not computed */
    /* Device memory that nothing else uses before the grid is done, aligned to 256 bytes. */
    void *scratch;
    size_t scratch_bytes;
    /* What a thread has of it for itself inside of a parallel loop. Where there is not enough for all, fewer threads work. */
    size_t scratch_per_thread;
    /* Sums to which several threads contribute have an order that depends on sizes and the number of blocks alone. */
    int deterministic;
    /* At most so many blocks; 0: as many as the device can hold at a time. */
    int most_blocks;
} ks_cuda;

/* A tensor entry: as that of the CPU, operands lists the results first, then the arguments, its descriptors in the memory of the host,
 * the data they point to in that of the device. Of a number of the host data is NULL, and sizes points to its 8 bytes. */
typedef int (*ks_cuda_tensor_entry)(const ks_cuda *device, const ks_tensor *operands);

/* An elementwise entry: the operands, results first, are arrays of `rank` dimensions, the innermost first; element i, j … of operand k is at
 * data[k] + i * strides[k * rank] + j * strides[k * rank + 1] …, in bytes. Stride 0 is a value that is shared. Where data[k] is NULL
 * the value is that of the host's 8 bytes numbers[k], and the strides are 0; numbers may be NULL where there is no such operand. */
typedef int (*ks_cuda_elementwise_entry)(
    const ks_cuda *device, char *const *data, const int64_t *strides, const int64_t *sizes, int rank, const int64_t *numbers);

/* What a launch takes. */
enum ks_cuda_needs {
    KS_CUDA_STATE = 1,   /* state: it meets, or may fail */
    KS_CUDA_MEMORY = 2,  /* scratch memory beyond what blocks need to combine numbers, and copies of arguments */
    KS_CUDA_VARYING = 4, /* … of which it needs more or less, as the values of its operands have it and not their sizes alone */
    KS_CUDA_PRIVATE = 8  /* scratch_per_thread */
};

/* What a host has to know of an entry; the symbol is that of the entry with _kernel behind it. */
typedef struct ks_cuda_kernel {
    void *entry;
    int needs;
    long long (*threads)(void);          /* how many threads the current device runs at a time, of any kernel */
    const char *(*explain)(int status);  /* what a cudaError_t means */
} ks_cuda_kernel;

#ifdef __cplusplus
}
#endif

#endif
