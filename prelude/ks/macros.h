// What differs between the host and the device.
#ifndef KS_MACROS_H
#define KS_MACROS_H

#ifdef __CUDACC__
#define KS_FN __host__ __device__ inline
#else
#define KS_FN inline
#endif

#endif
