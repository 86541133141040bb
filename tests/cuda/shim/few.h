// As if integers of 32 bits were few: kernels go the ways that are for more elements than these can number.
#ifndef KS_SHIM_FEW_H
#define KS_SHIM_FEW_H

#include <cstdint>

#undef INT32_MAX
#define INT32_MAX 40

#endif
