// A part of a long function.
#ifndef KS_PART_H
#define KS_PART_H

#include "ks/macros.h"

namespace ks {

// Runs a body as a function of its own, for compilers, whose time for a function grows faster than the function. What it captures by
// value are variables of that function.
template <class Body> KS_NOINLINE auto part(Body body) { return body(); }

}  // namespace ks

#endif
