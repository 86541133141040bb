// All that generated kernels include.
#ifndef KS_PRELUDE_H
#define KS_PRELUDE_H

#include "ks/angles.h"
#include "ks/arena.h"
#include "ks/bulk.h"
#include "ks/callback.h"
#include "ks/entry.h"
#include "ks/half.h"
#include "ks/limits.h"
#include "ks/macros.h"
#include "ks/map.h"
#include "ks/map_packs.h"
#include "ks/multiply.h"
#include "ks/operand.h"
#include "ks/pack.h"
#include "ks/pack_int.h"
#include "ks/pack_rows.h"
#include "ks/parallel.h"
#include "ks/part.h"
#include "ks/runtime.h"
#include "ks/scalar.h"
#include "ks/sums.h"
#include "ks/tape.h"
#include "ks/tensor.h"

#endif
